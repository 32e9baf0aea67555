import { expect } from 'chai';
import type { Redis } from 'iovalkey';
import { FeedProbe } from '../../../infrastructure/valkey/feed-probe.js';
import { ValkeyConnection } from '../../../infrastructure/valkey/valkey-connection.js';
import { ChaosProxy } from '../../support/chaos-proxy.js';
import { eventually } from '../../support/eventually.js';
import { startValkey, type ValkeyServer } from '../../support/valkey-server.js';
import { RecordingLogger, someSettings } from './open-valkey.js';
import { commandCalls, connectAsAdmin } from './valkey-admin.js';

/** Three turns of the probe, and one until the first of them. */
const SILENCE_NOTICED_MS = 8_000;

describe('FeedProbe', () => {
  let server: ValkeyServer;
  let network: ChaosProxy;
  let admin: Redis;
  let connection: ValkeyConnection;
  let probe: FeedProbe;
  let logger: RecordingLogger;

  beforeEach(async () => {
    server = await startValkey();
    network = await ChaosProxy.open(server);
    admin = connectAsAdmin(server);
    logger = new RecordingLogger();
    // So long that nothing but the probe notices that nothing comes through.
    const settings = someSettings(network.place, { commandTimeoutMs: 60_000 });
    connection = new ValkeyConnection(settings, logger);
    probe = new FeedProbe(connection, settings, logger);
  });
  afterEach(async () => {
    probe.close();
    connection.close();
    admin.disconnect();
    await network.close();
    await server.kill();
  });

  const hearsItself = (): Promise<void> => eventually(() => expect(probe.lagMs).to.be.a('number'));

  const isSilent = (): Promise<void> =>
    eventually(
      async () => expect(await probe.problems()).to.deep.equal(['valkey: pub/sub does not deliver']),
      SILENCE_NOTICED_MS,
    );

  const hasNoProblem = (): Promise<void> =>
    eventually(async () => expect(await probe.problems()).to.deep.equal([]));

  it('measures how long a message takes', async () => {
    expect(probe.lagMs).to.equal(undefined);
    await hearsItself();
    expect(probe.lagMs).to.be.above(0);
    expect(await probe.problems()).to.deep.equal([]);
  });

  it('measures again and again', async () => {
    await hearsItself();
    const published = await commandCalls(admin, 'publish');
    await eventually(async () => expect(await commandCalls(admin, 'publish')).to.be.at.least(published + 2));
    expect(await probe.problems()).to.deep.equal([]);
  });

  it('notices that nothing is delivered though every connection is there, and that it is again', async () => {
    await hearsItself();
    expect(network.silence('pulsar-proxy:subscriber')).to.equal(1);
    await isSilent();
    expect(connection.isUp).to.equal(true);
    expect(await connection.problems()).to.deep.equal([]);
    expect(logger.of('valkey_feed_silent')).to.have.length(1);
    // What it measured last is not true any more.
    expect(probe.lagMs).to.be.above(2_000);
    expect(network.cut('pulsar-proxy:subscriber')).to.equal(1);
    await hasNoProblem();
    expect(logger.of('valkey_feed_heard_again')).to.have.length(1);
    expect(probe.lagMs).to.be.below(2_000);
  });

  it('notices that it may not hear its channel, and hears it as soon as it may', async () => {
    await hearsItself();
    await admin.call('ACL', 'SETUSER', 'default', 'resetchannels');
    // An ACL that takes a channel away disconnects who listens to it.
    await isSilent();
    await admin.call('ACL', 'SETUSER', 'default', 'allchannels');
    await hasNoProblem();
  });

  it('goes on by itself on a new connection, without a problem in between', async () => {
    await hearsItself();
    const problems: string[] = [];
    for (let round = 0; round < 4; round++) {
      const subscribed = await commandCalls(admin, 'subscribe');
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await eventually(async () => expect(await commandCalls(admin, 'subscribe')).to.be.above(subscribed));
      problems.push(...(await probe.problems()));
    }
    expect(problems).to.deep.equal([]);
    const published = await commandCalls(admin, 'publish');
    await eventually(async () => expect(await commandCalls(admin, 'publish')).to.be.at.least(published + 2));
    expect(await probe.problems()).to.deep.equal([]);
    expect(logger.of('valkey_feed_silent')).to.deep.equal([]);
  });

  it('leaves it to others to say that there is no connection', async () => {
    await hearsItself();
    await server.kill();
    await eventually(() => expect(connection.isUp).to.equal(false));
    await eventually(() => expect(probe.lagMs).to.be.above(4_000), SILENCE_NOTICED_MS);
    expect(await probe.problems()).to.deep.equal([]);
    expect(logger.of('valkey_feed_silent')).to.deep.equal([]);
    await server.restart();
    await eventually(() => expect(probe.lagMs).to.be.below(2_000));
  });
});
