/**
 * JournalSignals over one pub/sub channel that every instance hears. One channel and not one per subscription: a signal
 * is rare (a takeover, an acknowledgement by HTTP) and costs an instance that it does not concern one look into a map.
 */
import { either as E, function as F } from 'fp-ts';
import * as t from 'io-ts';
import type { JournalSignals, OnJournalSignal } from '../../application/ports/journal-signals.js';
import type { Logger } from '../../application/ports/logger.js';
import { parseClientId, type Identity } from '../../domain/subscription/client-id.js';
import { OwnChannel } from './own-channel.js';
import type { ValkeyConnection } from './valkey-connection.js';
import type { ValkeySettings } from './valkey-settings.js';

export class ValkeyJournalSignals implements JournalSignals {
  private readonly channelName: string;
  private readonly channel: OwnChannel;
  private readonly listeners: OnJournalSignal[] = [];
  private readonly missedListeners: (() => void)[] = [];

  constructor(
    private readonly connection: ValkeyConnection,
    { keyPrefix, db }: Pick<ValkeySettings, 'keyPrefix' | 'db'>,
    private readonly logger: Logger,
  ) {
    this.channelName = `${keyPrefix}signals@${db}`;
    this.channel = new OwnChannel(
      connection,
      this.channelName,
      { onMessage: (text) => this.onMessage(text), onSubscribed: () => this.onSubscribed() },
      logger,
    );
  }

  send({ principal, clientId }: Identity, by: string | undefined): void {
    const { commands } = this.connection;
    // Nothing depends on it but time, and whoever cannot send it cannot have written to the journal either.
    if (commands.status !== 'ready') return;
    commands
      .publish(this.channelName, JSON.stringify({ principal, client_id: clientId, by }))
      .catch((error: unknown) => this.logger.debug('valkey_signal_failed', { error }));
  }

  onSignal(listener: OnJournalSignal): void {
    this.listeners.push(listener);
  }

  onMissed(listener: () => void): void {
    this.missedListeners.push(listener);
  }

  close(): void {
    this.channel.close();
  }

  private onSubscribed(): void {
    for (const listener of this.missedListeners) listener();
  }

  private onMessage(text: string): void {
    const signal = decode(text);
    if (signal === undefined) return;
    for (const listener of this.listeners) listener(signal.identity, signal.by);
  }
}

interface Signal {
  readonly identity: Identity;
  readonly by: string | undefined;
}

const Payload = t.intersection([
  t.type({ principal: t.string, client_id: t.string }),
  t.partial({ by: t.string }),
]);

/** Undefined for what we cannot have sent: anybody may publish to the channel. */
const decode = (text: string): Signal | undefined =>
  F.pipe(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => undefined,
    ),
    E.flatMap((json) => Payload.decode(json)),
    E.flatMap(({ principal, client_id, by }) =>
      F.pipe(
        parseClientId(client_id),
        E.map((clientId): Signal => ({ identity: { principal, clientId }, by })),
      ),
    ),
    E.getOrElseW(() => undefined),
  );
