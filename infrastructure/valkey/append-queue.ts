/**
 * Sends appends to Valkey in groups: those of one tick share a pipeline, those for one topic share a script call.
 * HOT PATH, budget 14 µs per publish (npm run bench). Only one pipeline is under way at a time and the next one grows
 * behind it: that is the group commit, and it needs no timer.
 * At its bounds: a group takes at most GROUP_BYTES_MAX, and appends beyond QUEUE_BYTES_MAX are refused as not stored.
 * Whatever happens, an append is answered within the command timeout of being queued or sent: a group that is not
 * answered in time takes down the socket and with it everything queued behind, which was never sent.
 */
import type { Redis } from 'iovalkey';
import type { StoreUnavailable } from '../../application/ports/event-store.js';
import type { StoredTexts } from './recorded-event-codec.js';
import { APPEND } from './scripts.js';
import { fromSentCommand, notSent } from './valkey-errors.js';
import { isNoScript, type ValkeyConnection } from './valkey-connection.js';

/** One append: the fixed arguments of the script, then the texts of its events. */
export interface Append {
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** Appends with the same one and without an expected n may share a call. Absent: a call of its own. */
  readonly shareable?: string;
  readonly events: readonly StoredTexts[];
}

export type AppendAnswer =
  | { readonly _tag: 'Stored'; readonly firstOffset: number; readonly firstN: number }
  | { readonly _tag: 'Conflict'; readonly actual: number }
  | StoreUnavailable;

interface Waiting {
  readonly append: Append;
  readonly answer: (answer: AppendAnswer) => void;
}

/** Appends that go out as one script call. */
interface Call {
  readonly waiting: Waiting[];
}

const GROUP_BYTES_MAX = 4 * 1024 * 1024;
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;

export class AppendQueue {
  private queue: Waiting[] = [];
  private queuedBytes = 0;
  private isUnderWay = false;
  private isScheduled = false;

  constructor(private readonly connection: ValkeyConnection) {}

  push(append: Append): Promise<AppendAnswer> {
    if (this.connection.commands.status !== 'ready') return Promise.resolve(notSent('disconnected'));
    const bytes = bytesOf(append);
    if (this.queuedBytes + bytes > QUEUE_BYTES_MAX) return Promise.resolve(notSent('overloaded'));
    this.queuedBytes += bytes;
    return new Promise((answer) => {
      this.queue.push({ append, answer });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.isUnderWay || this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      void this.flush();
    });
  }

  private async flush(): Promise<void> {
    if (this.queue.length === 0) return;
    const client = this.connection.commands;
    if (client.status !== 'ready') {
      this.refuseQueue();
      return;
    }
    this.isUnderWay = true;
    const calls = group(this.takeGroup());
    const failure = await this.send(client, calls);
    this.isUnderWay = false;
    if (failure !== undefined && failure.outcome === 'unknown') {
      this.connection.reset(client);
      this.refuseQueue();
    }
    this.schedule();
  }

  /** Sends the calls as one pipeline and answers each; returns a failure that concerns the connection. */
  private async send(client: Redis, calls: readonly Call[]): Promise<StoreUnavailable | undefined> {
    const pipeline = client.pipeline();
    for (const call of calls) {
      const { keys, args } = argumentsOf(call);
      pipeline.call('EVALSHA', APPEND.sha, keys.length, ...keys, ...args);
    }
    let failure: StoreUnavailable | undefined;
    const replies: readonly (readonly [error: Error | null, result: unknown])[] = await pipeline.exec().then(
      (results) => results ?? [],
      (error: unknown) => calls.map(() => [error as Error, undefined] as const),
    );
    for (const [i, call] of calls.entries()) {
      const [error, result] = replies[i] ?? [new Error('no reply'), undefined];
      const answer = error === null ? toAnswer(result) : await this.again(client, call, error);
      if (answer._tag === 'StoreUnavailable') failure = answer;
      answerAll(call, answer);
    }
    return failure;
  }

  /** A digest that Valkey has forgotten was not run, so that one failure may be sent again, with the text. */
  private async again(client: Redis, call: Call, error: Error): Promise<AppendAnswer> {
    if (!isNoScript(error)) return fromSentCommand(error);
    const { keys, args } = argumentsOf(call);
    try {
      return toAnswer(await client.call('EVAL', APPEND.source, keys.length, ...keys, ...args));
    } catch (second) {
      return fromSentCommand(second);
    }
  }

  private takeGroup(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { append } of this.queue) {
      bytes += bytesOf(append);
      if (count > 0 && bytes > GROUP_BYTES_MAX) break;
      count += 1;
      this.queuedBytes -= bytesOf(append);
    }
    const taken = this.queue.slice(0, count);
    this.queue = this.queue.slice(count);
    return taken;
  }

  private refuseQueue(): void {
    const refused = this.queue;
    this.queue = [];
    this.queuedBytes = 0;
    for (const { answer } of refused) answer(notSent('disconnected'));
  }
}

const bytesOf = (append: Append): number =>
  append.events.reduce((sum, { body, meta }) => sum + body.length + meta.length, 64);

const group = (taken: readonly Waiting[]): readonly Call[] => {
  const calls: Call[] = [];
  const open = new Map<string, Call>();
  for (const waiting of taken) {
    const { shareable } = waiting.append;
    const shared = shareable === undefined ? undefined : open.get(shareable);
    if (shared !== undefined) {
      shared.waiting.push(waiting);
      continue;
    }
    const call = { waiting: [waiting] };
    calls.push(call);
    if (shareable !== undefined) open.set(shareable, call);
  }
  return calls;
};

const argumentsOf = (call: Call): { readonly keys: readonly string[]; readonly args: readonly string[] } => {
  const first = call.waiting[0];
  if (first === undefined) throw new Error('a call has at least one append');
  const args = [...first.append.args];
  for (const { append } of call.waiting) for (const { body, meta } of append.events) args.push(body, meta);
  return { keys: first.append.keys, args };
};

const toAnswer = (result: unknown): AppendAnswer => {
  const [stored, second, third] = result as [number, number, number | undefined];
  return stored === 1
    ? { _tag: 'Stored', firstOffset: second, firstN: third ?? 0 }
    : { _tag: 'Conflict', actual: second };
};

/** Each append of a call gets the place of its own first event. */
const answerAll = (call: Call, answer: AppendAnswer): void => {
  let before = 0;
  for (const { append, answer: resolve } of call.waiting) {
    resolve(
      answer._tag === 'Stored'
        ? { _tag: 'Stored', firstOffset: answer.firstOffset + before, firstN: answer.firstN + before }
        : answer,
    );
    before += append.events.length;
  }
};
