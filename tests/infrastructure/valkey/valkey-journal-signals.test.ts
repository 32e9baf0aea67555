import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { ValkeyConnection } from '../../../infrastructure/valkey/valkey-connection.js';
import { ValkeyJournalSignals } from '../../../infrastructure/valkey/valkey-journal-signals.js';
import type { ValkeySettings } from '../../../infrastructure/valkey/valkey-settings.js';
import { describeJournalSignals } from '../../contracts/journal-signals.contract.js';
import { anIdentity } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { randomKeyPrefix, sharedValkey } from '../../support/shared-valkey.js';
import { startValkey } from '../../support/valkey-server.js';
import { RecordingLogger, someSettings } from './open-valkey.js';
import { connectAsAdmin } from './valkey-admin.js';

interface OpenedSignals {
  readonly settings: ValkeySettings;
  readonly connection: ValkeyConnection;
  readonly signals: ValkeyJournalSignals;
  readonly logger: RecordingLogger;
  /** Who has sent what came; everything that is sent in these tests is for the same subscription. */
  readonly heard: readonly (string | undefined)[];
}

const opened = new Set<OpenedSignals>();

const openSignals = (settings: ValkeySettings): OpenedSignals => {
  const logger = new RecordingLogger();
  const connection = new ValkeyConnection(settings, logger);
  const signals = new ValkeyJournalSignals(connection, settings, logger);
  const heard: (string | undefined)[] = [];
  signals.onSignal((_, by) => heard.push(by));
  const each = { settings, connection, signals, logger, heard };
  opened.add(each);
  return each;
};

const closeAll = (): void => {
  for (const { signals, connection } of opened) {
    signals.close();
    connection.close();
  }
  opened.clear();
};

const channelOf = ({ keyPrefix, db }: ValkeySettings): string => `${keyPrefix}signals@${db}`;

/** Waits until `count` connections hear the channel. */
const subscribers = (admin: Redis, channel: string, count: number): Promise<void> =>
  eventually(async () => expect(await admin.pubsub('NUMSUB', channel)).to.deep.equal([channel, count]));

describeJournalSignals('ValkeyJournalSignals', async () => {
  const settings = someSettings(await sharedValkey());
  const [one, other] = [openSignals(settings), openSignals(settings)];
  const admin = connectAsAdmin(await sharedValkey());
  await subscribers(admin, channelOf(settings), 2);
  await Promise.all([one.connection.ready(), other.connection.ready()]);
  admin.disconnect();
  const close = (): Promise<void> => {
    closeAll();
    return Promise.resolve();
  };
  return { instances: [one.signals, other.signals], close };
});

describe('ValkeyJournalSignals', () => {
  let admin: Redis;

  beforeEach(async () => (admin = connectAsAdmin(await sharedValkey())));
  afterEach(() => {
    admin.disconnect();
    closeAll();
  });

  /** Opened and heard by itself. */
  const openHeard = async (overrides: Partial<ValkeySettings> = {}): Promise<OpenedSignals> => {
    const each = openSignals(someSettings(await sharedValkey(), overrides));
    await subscribers(admin, channelOf(each.settings), 1);
    await each.connection.ready();
    return each;
  };

  it('pays no attention to what others publish to its channel', async () => {
    const { settings, signals, heard } = await openHeard();
    const junk = ['', 'hello', '{', 'null', '[]', '7', '"x"', '{}', '{"principal":"jwt:a"}'].concat(
      JSON.stringify({ principal: 'jwt:a', client_id: 'not/valid', by: 'junk' }),
      JSON.stringify({ principal: 7, client_id: 'phone', by: 'junk' }),
      JSON.stringify({ principal: 'jwt:a', client_id: 'phone', by: { session: 'junk' } }),
    );
    for (const text of junk) expect(await admin.publish(channelOf(settings), text)).to.equal(1);
    signals.send(anIdentity(), 'ours');
    await eventually(() => expect(heard).to.deep.equal(['ours']));
  });

  it('hears nothing of other installations on the same Valkey', async () => {
    const keyPrefix = randomKeyPrefix();
    const here = await openHeard({ keyPrefix });
    const neighbours = [await openHeard({ keyPrefix, db: 1 }), await openHeard()];
    for (const [i, { signals }] of neighbours.entries()) signals.send(anIdentity(), `neighbour-${i}`);
    for (const [i, { heard }] of neighbours.entries()) {
      await eventually(() => expect(heard).to.deep.equal([`neighbour-${i}`]));
    }
    here.signals.send(anIdentity(), 'here');
    await eventually(() => expect(here.heard).to.deep.equal(['here']));
    expect(neighbours.map(({ heard }) => heard.length)).to.deep.equal([1, 1]);
  });

  it('hears again after its connection was cut, however often', async () => {
    const { signals, heard } = await openHeard();
    for (const round of ['1', '2', '3', '4']) {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      // A signal may be lost with the connection. One that is sent again and again arrives once it is back.
      await eventually(() => {
        signals.send(anIdentity(), round);
        expect(heard).to.include(round);
      });
    }
  });

  it('asks for its channel until it may have it', async () => {
    const server = await startValkey();
    const control = connectAsAdmin(server);
    await control.call('ACL', 'SETUSER', 'default', 'resetchannels');
    const { signals, heard, logger } = openSignals(someSettings(server));
    await eventually(() => expect(logger.of('valkey_subscribe_failed')).to.have.length(1));
    await control.call('ACL', 'SETUSER', 'default', 'allchannels');
    await eventually(() => {
      signals.send(anIdentity(), 'allowed');
      expect(heard).to.include('allowed');
    });
    expect(logger.of('valkey_subscribe_failed')).to.have.length(1);
    control.disconnect();
    closeAll();
    await server.kill();
  });

  it('does nothing with what it is to send while it is not connected', async () => {
    const server = await startValkey();
    const { connection, signals, heard } = openSignals(someSettings(server));
    signals.send(anIdentity(), 'before it was connected');
    await connection.ready();
    await server.kill();
    await eventually(() => expect(connection.isUp).to.equal(false));
    signals.send(anIdentity(), 'while it was away');
    await server.restart();
    await eventually(() => {
      signals.send(anIdentity(), 'afterwards');
      expect(heard).to.include('afterwards');
    });
    expect(new Set(heard)).to.deep.equal(new Set(['afterwards']));
    closeAll();
    await server.kill();
  });
});
