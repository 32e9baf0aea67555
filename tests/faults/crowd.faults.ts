/** A proxy with thousands of sockets dies, and all of them come to the other one at the same moment. */
import { expect } from 'chai';
import { publish, WsClient } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { Installation } from './installation.js';

/** FAULTS_CLIENTS: as many as the machine has file descriptors for, twice. */
const CLIENTS = Number(process.env['FAULTS_CLIENTS'] ?? 5_000);
/** As many as are opened together in the beginning, when there is no hurry. */
const WAVE = 250;
const EVERYBODY_MS = 60_000;

describe(`when ${CLIENTS} clients`, () => {
  it('lose their proxy, all of them are served by the other one, and nobody has missed anything', async () => {
    const installation = await Installation.open();
    try {
      const [doomed, other] = [installation.slot(0), installation.slot(1)];
      const token = await doomed.target.token('alice');
      const join = async (i: number, { target } = other): Promise<WsClient> => {
        const client = await WsClient.connect(target, { token });
        await client.subscribe(['crowd'], { client_id: `client-${i}` });
        return client;
      };
      const first: WsClient[] = [];
      for (let i = 0; i < CLIENTS; i += WAVE)
        first.push(...(await Promise.all(Array.from({ length: WAVE }, (_, k) => join(i + k, doomed)))));

      const gone = Promise.all(first.map(({ closed }) => closed));
      await doomed.kill();
      await gone;
      await publish(other.target, 'crowd', 'while nobody was there');
      const second: WsClient[] = [];
      await Promise.all(
        first.map(async (_, i) => {
          await eventually(async () => void second.push(await join(i)), EVERYBODY_MS);
        }),
      );
      await publish(other.target, 'crowd', 'when all were there');
      await eventually(() => {
        const wrong = second.filter(
          ({ messages }) =>
            messages.map(({ payload }) => payload).join() !== 'while nobody was there,when all were there',
        );
        expect(wrong, 'clients that have not got both messages, in order').to.have.length(0);
      }, EVERYBODY_MS);
      for (const client of second) client.socket.terminate();
    } finally {
      await installation.close();
    }
  }).timeout(240_000);
});
