/** Proxies on one Valkey, and clients that do what applications do over a while. */
import { randomKeyPrefix } from '../support/shared-valkey.js';
import { ack, poll, request, type DeliveredMessage, type Target } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import {
  spawnProxy,
  startProxy,
  type Proxy,
  type ProxyOptions,
  type ProxyProcess,
} from '../support/proxy.js';

/** `count` proxies in this process, ready, on the same Valkey and the same keys. */
export const startFleet = async (
  count: number,
  port: number,
  config: Exclude<ProxyOptions['config'], undefined> = {},
): Promise<readonly Proxy[]> => {
  const valkey = { port, keyPrefix: randomKeyPrefix() };
  return Promise.all(
    Array.from({ length: count }, async () => {
      const proxy = await startProxy({ driver: 'valkey', valkey, config });
      await isReady(proxy);
      return proxy;
    }),
  );
};

/** A proxy as a process of its own, once it is ready. */
export const spawnReady = async (options: Parameters<typeof spawnProxy>[0]): Promise<ProxyProcess> => {
  const proxy = await spawnProxy(options);
  await isReady(proxy);
  return proxy;
};

export const isReady = (proxy: Pick<Target, 'url'>): Promise<void> =>
  eventually(async () => {
    const { status, text } = await request(proxy, 'GET', '/ready');
    if (status !== 200) throw new Error(`not ready: ${status} ${text}`);
  });

/** Polls, at these proxies in turn, until `count` different messages have come; answers everything that came. */
export const pollUntil = async (
  proxies: readonly Pick<Target, 'url'>[],
  token: string,
  parameters: Readonly<Record<string, string | number>>,
  count: number,
  timeoutMs = 10_000,
): Promise<readonly DeliveredMessage[]> => {
  const came: DeliveredMessage[] = [];
  const deadline = performance.now() + timeoutMs;
  for (let i = 0; new Set(came.map(({ message_id }) => message_id)).size < count; i++) {
    if (performance.now() > deadline) throw new Error(`${came.length} of ${count} messages came`);
    const answer = await poll(proxies[i % proxies.length]!, token, { timeout: 1, ...parameters });
    if (answer.status !== 200) throw new Error(`the poll was answered ${answer.status} ${answer.text}`);
    came.push(...answer.body.messages);
  }
  return came;
};

/** Acknowledges all of these, which must succeed. */
export const ackAll = async (
  proxy: Pick<Target, 'url'>,
  token: string,
  messages: readonly DeliveredMessage[],
  clientId?: string,
): Promise<void> => {
  const ids = messages.map(({ message_id }) => message_id);
  const answer = await ack(proxy, token, ids, clientId);
  if (answer.status !== 200 || answer.body.unknown.length > 0) {
    throw new Error(`the ack was answered ${answer.status} ${answer.text}`);
  }
};

export const idsOf = (messages: readonly DeliveredMessage[]): readonly string[] =>
  messages.map(({ message_id }) => message_id);
