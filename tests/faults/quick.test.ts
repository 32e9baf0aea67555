/** Faults that need no workload and no chance: short enough for every test run. */
import { expect } from 'chai';
import { payloads, publish, request, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { Installation } from './installation.js';

describe('when a proxy', () => {
  it('dies after it has published a dead letter and before that is recorded, it is there once and comes no more', async () => {
    const installation = await Installation.open({ delivery: { max_deliveries: 2 } });
    try {
      const [doomed, other] = [installation.slot(0), installation.slot(1)];
      await doomed.stop();
      await doomed.startFailing({ when: 'before', event: 'MessagesDeadLettered', nth: 1 });
      await doomed.isReady();
      const token = await doomed.target.token('alice');
      const options = { client_id: 'phone', ack_timeout: 0.3 };
      const phone = await WsClient.connect(doomed.target, { token });
      await phone.subscribe(['orders'], options);
      const poison = await publish(other.target, 'orders', 'poison');
      await doomed.ended();

      const again = await WsClient.connect(other.target, { token });
      await again.subscribe(['orders'], options);
      // What is stuck behind a poison message would not come.
      const fine = await publish(other.target, 'orders', 'fine');
      await eventually(() => expect(payloads(again.messages)).to.include('fine'));
      await again.ack(fine);
      const letters = async (): Promise<readonly string[]> =>
        (await installation.stored())
          .filter(({ messageId }) => messageId.startsWith('dlq.orders:'))
          .map(({ payload }) => payload);
      await eventually(async () => expect(await letters()).to.deep.equal(['"poison"']));

      await again.close();
      await doomed.start();
      await doomed.isReady();
      const last = await WsClient.connect(doomed.target, { token });
      await last.subscribe(['orders'], options);
      await eventually(async () => {
        const { body } = await request(doomed.target, 'POST', '/api/v1/ack', {
          token,
          body: { message_ids: [poison], client_id: 'phone' },
        });
        expect(body).to.deep.include({ already_acknowledged: [poison] });
      });
      expect(last.messages).to.deep.equal([]);
      expect(await letters()).to.deep.equal(['"poison"']);
    } finally {
      await installation.close();
    }
  }).timeout(60_000);

  it('is asked for a client_id that another one holds, the newer connection wins, and nothing is lost', async () => {
    const installation = await Installation.open();
    try {
      const token = await installation.slot(0).target.token('alice');
      const got = new Set<unknown>();
      let holder: WsClient | undefined;
      for (let round = 0; round < 12; round++) {
        const { target } = installation.slot(round % 2);
        const newer = await WsClient.connect(target, { token });
        await newer.subscribe(['orders'], { client_id: 'phone' });
        const older = holder;
        holder = newer;
        await publish(target, 'orders', round);
        await eventually(() => expect(payloads(newer.messages)).to.include(round));
        for (const { payload } of newer.messages) got.add(payload);
        await newer.ack(...newer.messages.map(({ message_id }) => message_id));
        if (older !== undefined) {
          await eventually(() => expect(older.socket.readyState).to.equal(older.socket.CLOSED));
          expect((await older.closed).code).to.equal(4509);
        }
      }
      expect([...got]).to.deep.equal(Array.from({ length: 12 }, (_, i) => i));
    } finally {
      await installation.close();
    }
  }).timeout(60_000);
});
