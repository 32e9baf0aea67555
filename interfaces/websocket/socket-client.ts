/**
 * One client on one WebSocket: who it is, its subscription, and what each of its frames does. A connection has at most
 * one subscription; further subscribe frames add topics to it.
 */
import { either as E, function as F, type taskEither as TE } from 'fp-ts';
import type { SubscriptionRequest } from '../../application/open-subscription.js';
import type { Authenticator, Principal } from '../../application/ports/authenticator.js';
import type { Cancel, Clock } from '../../application/ports/clock.js';
import type { Logger } from '../../application/ports/logger.js';
import type { AddressedPublication, PublishMessages } from '../../application/publish-messages.js';
import type { SubscribeRefusal } from '../../application/refusals.js';
import type { Session } from '../../application/session.js';
import type { Opened, Sessions } from '../../application/sessions.js';
import type { Settling } from '../../application/settling.js';
import { assertNever } from '../../domain/assert-never.js';
import type { ClientId } from '../../domain/subscription/client-id.js';
import type { MessageId } from '../../domain/message/message-id.js';
import type { Instant } from '../../domain/time.js';
import type { TopicPattern } from '../../domain/topic/topic-pattern.js';
import { decodeClientFrame, type ClientFrame, type FrameId } from '../codecs/client-frame.js';
import {
  authenticatedFrame,
  errorFrame,
  pongFrame,
  publishedFrame,
  settledFrame,
  subscribedFrame,
  unsubscribedFrame,
} from '../codecs/server-frame.js';
import { toProblem, type Problem } from '../problem.js';
import type { CloseName } from './close-codes.js';
import type { TokenExpiries } from './token-expiries.js';
import type { WsConnection } from './ws-connection.js';

export interface SocketClientDependencies {
  readonly sessions: Sessions;
  readonly publish: PublishMessages;
  readonly authenticator: Authenticator;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long a socket may stay without a token. */
const AUTH_TIMEOUT_MS = 5_000;
/** Frames of one client that may wait for the storage; the next one is refused. */
const UNDER_WAY_MAX = 1_000;

const NOT_RECORDED: Problem = {
  code: 'storage_unavailable',
  detail: 'What was asked for counts here and will be recorded as soon as the storage answers again.',
  outcome: 'unknown',
};

const NOT_SUBSCRIBED: Problem = { code: 'not_subscribed', detail: 'Send a subscribe frame first.' };

/** One for all: most clients change nothing most of the time. */
const NO_CHANGES: Promise<void> = Promise.resolve();

export class SocketClient {
  private principal: Principal | undefined = undefined;
  private session: Session | undefined = undefined;
  private clientId: ClientId | undefined = undefined;
  private cancelAuthTimeout: Cancel | undefined = undefined;
  private hasLeft = false;
  /** Frames that change the subscription take effect one after the other. */
  private changes = NO_CHANGES;
  /**
   * What the storage or the authenticator has not answered yet. A number and not a set of promises: a set that is always
   * changing keeps what was in it alive for longer.
   */
  private underWay = 0;
  private onAllAnswered: (() => void) | undefined = undefined;

  constructor(
    private readonly dependencies: SocketClientDependencies,
    private readonly connection: WsConnection,
    /** A socket may stay for as long as its token is good. */
    private readonly expiries: TokenExpiries,
    principal: Principal | undefined,
  ) {
    if (principal !== undefined) this.admit(principal);
    else {
      const timeOut = (): void => connection.close('auth_timeout');
      this.cancelAuthTimeout = dependencies.clock.after(AUTH_TIMEOUT_MS, timeOut);
    }
  }

  /** When its token is over; undefined where it has none, or one that never is. */
  get expiresAt(): Instant | undefined {
    return this.hasLeft ? undefined : this.principal?.expiresAt;
  }

  onFrame(text: string): void {
    const { id, frame } = decodeClientFrame(text);
    if (E.isLeft(frame)) this.refuse(id, frame.left);
    else this.handle(id, frame.right);
  }

  /**
   * The connection is gone, or is to be closed for `reason`. Who is sent away is answered first; whose token is over is
   * not. Resolves when the position is recorded.
   */
  async leave(reason?: CloseName & ('going_away' | 'token_expired')): Promise<void> {
    if (this.hasLeft) return;
    this.hasLeft = true;
    this.cancelAuthTimeout?.();
    if (reason === 'token_expired') this.connection.close(reason);
    if (reason === 'going_away') {
      await this.allAnswered();
      this.connection.close(reason);
    }
    await this.changes;
    if (this.session !== undefined) await this.dependencies.sessions.end(this.session);
  }

  private handle(id: FrameId, frame: ClientFrame): void {
    if (frame.type === 'auth') this.inTurn(id, () => this.authenticate(id, frame.token));
    else if (frame.type === 'ping') this.connection.reply(pongFrame(id));
    else if (this.principal === undefined) {
      // The token may be on its way through the authenticator: then this frame waits for it.
      this.inTurn(id, () => {
        this.handleAuthenticated(id, frame);
        return Promise.resolve();
      });
    } else this.handleAuthenticated(id, frame);
  }

  private handleAuthenticated(
    id: FrameId,
    frame: Exclude<ClientFrame, { readonly type: 'auth' | 'ping' }>,
  ): void {
    const { principal } = this;
    if (principal === undefined) {
      this.refuse(id, { code: 'unauthorized', detail: 'Send an auth frame with a token first.' });
      return;
    }
    switch (frame.type) {
      case 'settle':
        this.settle(id, frame.settling);
        return;
      case 'subscribe':
        this.inTurn(id, () => this.subscribe(id, principal, frame.clientId, frame.request));
        return;
      case 'unsubscribe':
        this.inTurn(id, () => this.unsubscribe(id, frame.topics));
        return;
      case 'publish':
        this.bounded(id, () => this.publish(id, principal, frame.item));
        return;
      default:
        assertNever(frame);
    }
  }

  /** HOT PATH for an ack without an id: nothing waits for it, and nothing is answered unless something is wrong. */
  private settle(id: FrameId, settling: Settling): void {
    const { session } = this;
    if (session === undefined) this.refuse(id, NOT_SUBSCRIBED);
    else if (id === undefined && settling.type === 'Acknowledge') {
      this.refuseUnknown(settling, session.acknowledge(settling.ids));
    } else this.bounded(id, () => this.confirm(id, session, settling));
  }

  /** Like the answer to the same request by HTTP: when it is recorded, and not before. */
  private async confirm(id: FrameId, session: Session, settling: Settling): Promise<void> {
    const settled = await session.settle(settling)();
    if (E.isLeft(settled)) {
      // What was to be published first, and could not be, has had no effect.
      this.refuse(id, settling.type === 'Terminate' ? toProblem(settled.left) : NOT_RECORDED);
    } else if (id !== undefined) this.connection.reply(settledFrame(id, settling, settled.right));
    else this.refuseUnknown(settling, settled.right.unknown);
  }

  private refuseUnknown({ type }: Settling, unknown: readonly MessageId[]): void {
    const [first] = unknown;
    if (first === undefined) return;
    this.refuse(undefined, {
      code: 'unknown_messages',
      detail: `${unknown.length} of the ids (topic ${first.topic}) were not delivered to this subscription.`,
      field: type === 'AcknowledgeUpTo' ? 'up_to' : 'message_id',
    });
  }

  private async subscribe(
    id: FrameId,
    principal: Principal,
    clientId: ClientId | undefined,
    request: SubscriptionRequest,
  ): Promise<void> {
    if (this.session !== undefined && clientId !== undefined && clientId !== this.clientId) {
      this.refuse(id, {
        code: 'client_id_mismatch',
        detail: 'A connection has one subscription; open another connection for another client_id.',
        field: 'client_id',
      });
      return;
    }
    const { sessions } = this.dependencies;
    const opening: TE.TaskEither<SubscribeRefusal, Opened> =
      this.session === undefined
        ? sessions.open(principal, clientId, request, this.connection)
        : sessions.extend(this.session, request);
    const opened = await opening();
    if (E.isLeft(opened)) {
      this.refuse(id, toProblem(opened.left));
      return;
    }
    const { session, recovered } = opened.right;
    this.session = session;
    this.connection.writer = session;
    this.clientId ??= session.state.identity.clientId;
    this.connection.reply(subscribedFrame(id, this.clientId, request.topics, recovered));
    session.deliver();
  }

  private async unsubscribe(id: FrameId, topics: readonly TopicPattern[]): Promise<void> {
    if (this.session === undefined) {
      this.refuse(id, NOT_SUBSCRIBED);
      return;
    }
    const removed = await this.dependencies.sessions.remove(this.session, topics)();
    if (E.isLeft(removed)) {
      this.refuse(id, toProblem(removed.left));
      return;
    }
    this.session.deliver();
    this.connection.reply(unsubscribedFrame(id, topics));
  }

  private async publish(id: FrameId, principal: Principal, item: AddressedPublication): Promise<void> {
    const published = await this.dependencies.publish.one(principal, item)();
    this.connection.reply(
      F.pipe(
        published,
        E.match(
          (refusal) => errorFrame(id, toProblem(refusal)),
          (receipt) => publishedFrame(id, receipt),
        ),
      ),
    );
  }

  /** The first token admits; a later one renews, and must be of the same principal. */
  private async authenticate(id: FrameId, token: string): Promise<void> {
    const authenticated = await this.dependencies.authenticator.authenticate(token)();
    const isOther =
      E.isRight(authenticated) &&
      this.principal !== undefined &&
      authenticated.right.id !== this.principal.id;
    if (E.isLeft(authenticated) || isOther) {
      this.connection.close('invalid_token');
      return;
    }
    this.admit(authenticated.right);
    this.connection.reply(authenticatedFrame(id));
  }

  private admit(principal: Principal): void {
    this.principal = principal;
    if (this.session !== undefined) this.session.principal = principal;
    this.cancelAuthTimeout?.();
    this.cancelAuthTimeout = undefined;
    if (principal.expiresAt !== undefined) this.expiries.watch(principal.expiresAt);
  }

  private inTurn(id: FrameId, run: () => Promise<void>): void {
    this.bounded(id, () => {
      const turn = this.changes.then(() => (this.hasLeft ? undefined : run()));
      this.changes = turn.catch(() => undefined);
      return turn;
    });
  }

  /** A throw here is a bug of ours: logged, and the end of this connection only. */
  private bounded(id: FrameId, run: () => Promise<void>): void {
    if (this.hasLeft) {
      this.refuse(id, { code: 'shutting_down', detail: 'Reconnect, to this or another instance.' });
      return;
    }
    if (this.underWay >= UNDER_WAY_MAX) {
      this.refuse(id, {
        code: 'too_many_requests',
        detail: `More than ${UNDER_WAY_MAX} frames wait for an answer.`,
      });
      return;
    }
    void this.answering(run);
  }

  private async answering(run: () => Promise<void>): Promise<void> {
    this.underWay += 1;
    try {
      await run();
    } catch (error) {
      this.dependencies.logger.error('frame_failed', { error });
      this.connection.close('internal_error');
    }
    this.underWay -= 1;
    if (this.underWay > 0) return;
    this.changes = NO_CHANGES;
    this.onAllAnswered?.();
  }

  private allAnswered(): Promise<void> {
    return new Promise((resolve) => {
      if (this.underWay === 0) resolve();
      else this.onAllAnswered = resolve;
    });
  }

  private refuse(id: FrameId, problem: Problem): void {
    this.connection.reply(errorFrame(id, problem));
  }
}
