/**
 * Clients as users would write them, for black-box tests: HTTP over fetch, and one WebSocket that remembers every
 * frame. They know nothing of the service but its protocol.
 */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { WebSocket, type ClientOptions } from 'ws';

/** A message as a poll answers it and as a frame carries it. */
export interface DeliveredMessage {
  readonly message_id: string;
  readonly topic: string;
  readonly payload: unknown;
  readonly timestamp: string;
  readonly attempt?: number;
  readonly key?: string;
  readonly priority?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface GapTold {
  readonly topic: string;
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

/** A problem (RFC 9457), or the receipt of a stored message: what a bulk answers for each of its messages. */
export interface ItemResult {
  readonly message_id: string;
  readonly topic: string;
  readonly timestamp: string;
  readonly duplicate?: boolean;
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly status: number;
  readonly temporary: boolean;
  readonly field: string;
  readonly outcome: string;
}

/** What is answered to whoever says something of messages; each verb has a count of its own. */
export interface SettledTold {
  readonly acknowledged: number;
  readonly nacked: number;
  readonly extended: number;
  readonly terminated: number;
  readonly already_acknowledged: readonly string[];
  readonly trimmed: readonly string[];
  readonly unknown: readonly string[];
}

/** All that a body can have; each answer has some of it. */
export interface AnswerBody extends ItemResult, SettledTold {
  readonly results: readonly ItemResult[];
  readonly messages: readonly DeliveredMessage[];
  readonly gaps: readonly GapTold[];
  readonly dead_letter_topic: string;
  readonly next?: string;
  readonly redriven: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The body as it was sent. */
  readonly text: string;
  /** The body where it is JSON; reading it elsewhere throws. */
  readonly body: AnswerBody;
}

export interface HttpOptions {
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string or bytes are sent as they are, anything else as JSON. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** Where a proxy is; what `startProxy` and `spawnProxy` answer fits. */
export interface Target {
  readonly url: string;
  readonly publishKey: string;
}

/** One request. A body is sent as application/json unless `headers` say otherwise. */
export const request = async (
  target: Pick<Target, 'url'>,
  method: string,
  path: string,
  { token, headers = {}, body, signal }: HttpOptions = {},
): Promise<Answer> => {
  const response = await fetch(`${target.url}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: toBody(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    get body() {
      return JSON.parse(text) as AnswerBody;
    },
  };
};

const toBody = (body: unknown): string | Uint8Array =>
  typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);

/** Publishes one message, which must succeed; answers its message_id. */
export const publish = async (
  target: Target,
  topic: string,
  payload: unknown,
  options: Readonly<Record<string, unknown>> = {},
): Promise<string> => {
  const answer = await post(target, { topic, payload, ...options });
  if (answer.status !== 201) throw new Error(`publish was answered ${answer.status} ${answer.text}`);
  return answer.body.message_id;
};

/** POST /api/v1/messages, whatever is answered. */
export const post = (target: Target, body: unknown, options: HttpOptions = {}): Promise<Answer> =>
  request(target, 'POST', '/api/v1/messages', { token: target.publishKey, ...options, body });

/** POST /api/v1/messages/bulk, whatever is answered. An array is taken as the list of messages. */
export const bulk = (target: Target, body: unknown, options: HttpOptions = {}): Promise<Answer> =>
  request(target, 'POST', '/api/v1/messages/bulk', {
    token: target.publishKey,
    ...options,
    body: Array.isArray(body) ? { messages: body } : body,
  });

/** GET /api/v1/poll with these parameters, `topics` among them. Does not wait unless `timeout` says so. */
export const poll = (
  target: Pick<Target, 'url'>,
  token: string,
  parameters: Readonly<Record<string, string | number>>,
  options: HttpOptions = {},
): Promise<Answer> => {
  const query = new URLSearchParams({ timeout: '0' });
  for (const [name, value] of Object.entries(parameters)) query.set(name, String(value));
  return request(target, 'GET', `/api/v1/poll?${query.toString()}`, { token, ...options });
};

/** What else a request that settles messages can say. */
export interface SettleOptions {
  readonly clientId?: string;
  /** Of a nack, in seconds. */
  readonly delay?: number;
}

const settle =
  (verb: 'ack' | 'nack' | 'extend' | 'terminate') =>
  (
    target: Pick<Target, 'url'>,
    token: string,
    messageIds: readonly string[],
    { clientId, delay }: SettleOptions = {},
  ): Promise<Answer> =>
    request(target, 'POST', `/api/v1/${verb}`, {
      token,
      body: {
        message_ids: messageIds,
        ...(clientId === undefined ? {} : { client_id: clientId }),
        ...(delay === undefined ? {} : { delay }),
      },
    });

/** POST /api/v1/ack. */
export const ack = (
  target: Pick<Target, 'url'>,
  token: string,
  messageIds: readonly string[],
  clientId?: string,
): Promise<Answer> => settle('ack')(target, token, messageIds, clientId === undefined ? {} : { clientId });

/** POST /api/v1/nack, /api/v1/extend and /api/v1/terminate. */
export const nack = settle('nack');
export const extend = settle('extend');
export const terminate = settle('terminate');

/** The value of one series of /metrics, as `name{label="value"}`; undefined where it is not there. */
export const metric = async (target: Pick<Target, 'url'>, series: string): Promise<number | undefined> => {
  const { text } = await request(target, 'GET', '/metrics');
  const line = text.split('\n').find((row) => row.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
};

/** Sends bytes over a TCP connection of its own and answers everything that comes back until it is closed. */
export const sendBytes = async (
  target: Pick<Target, 'url'>,
  ...parts: readonly (string | Uint8Array)[]
): Promise<string> => {
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
  // Whoever refuses to read on may reset the connection; what was answered before counts.
  socket.on('error', () => undefined);
  for (const part of parts) socket.write(part);
  await once(socket, 'close');
  return answer;
};

let names = 0;

/** A topic that no other test of this process uses. */
export const freshTopic = (prefix = 'topic'): string => `${prefix}-${(names += 1)}`;

/** The payload of each message in a frame or in the answer of a poll, as text. */
export const payloadTexts = (raw: string): readonly string[] =>
  [...raw.matchAll(MESSAGE_PATTERN)].map(([, payload]) => payload ?? '');

const MESSAGE_PATTERN =
  /"message_id":"[^"]*","topic":"[^"]*","payload":(.*?),"timestamp":"\d{4}-\d\d-\d\dT[\d:.]+Z"/gs;

/** The payloads of an answered poll, or of frames. */
export const payloads = (messages: readonly DeliveredMessage[]): readonly unknown[] =>
  messages.map(({ payload }) => payload);

/** All that a frame can have; each type has some of it. */
export interface Frame extends DeliveredMessage, Omit<GapTold, 'topic'>, SettledTold {
  readonly type: string;
  readonly id?: string | number;
  readonly duplicate?: boolean;
  readonly code: string;
  readonly message: string;
  readonly temporary: boolean;
  readonly field?: string;
  readonly outcome?: string;
  readonly client_id: string;
  readonly topics: readonly { readonly topic: string; readonly recovered: boolean }[];
  /** The frame as it was sent. */
  readonly raw: string;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export interface ConnectOptions {
  /** Sent as Authorization: Bearer. */
  readonly token?: string;
  /** Sent as ?token=. */
  readonly queryToken?: string;
  readonly protocols?: readonly string[];
  readonly options?: ClientOptions;
}

const WAIT_MS = 5_000;

export class WsClient {
  /** Every frame that has come, in order. */
  readonly frames: Frame[] = [];
  /** Those of type `message`. */
  readonly messages: Frame[] = [];
  /** Resolves when the connection has closed, from whichever side. */
  readonly closed: Promise<Closed>;
  private unread: Frame[] = [];
  private readonly waiting = new Set<(frame: Frame) => boolean>();
  private requests = 0;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => this.onFrame(data.toString('utf8')));
    // An error is followed by `close`, which is what tests look at.
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) =>
      socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
    );
  }

  /** Connects to a proxy or to an address of its own. Rejects where the upgrade is refused; see `refusedUpgrade`. */
  static async connect(
    target: string | { readonly wsUrl: string },
    { token, queryToken, protocols = [], options }: ConnectOptions = {},
  ): Promise<WsClient> {
    const url = new URL(typeof target === 'string' ? target : target.wsUrl);
    if (queryToken !== undefined) url.searchParams.set('token', queryToken);
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const client = new WsClient(new WebSocket(url, [...protocols], { headers, ...options }));
    await new Promise<void>((resolve, reject) => {
      client.socket.once('open', resolve);
      client.socket.once('error', reject);
    });
    return client;
  }

  send(frame: unknown): void {
    this.sendText(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.socket.send(text);
  }

  /** Sends a frame with an id of its own and waits for the reply to it, whatever its type. */
  request(frame: Readonly<Record<string, unknown>>): Promise<Frame> {
    this.requests += 1;
    const id = `r${this.requests}`;
    this.send({ ...frame, id });
    return this.take(`a reply to ${String(frame['type'])}`, (answer) => answer.id === id);
  }

  /** Subscribes and waits for the answer, which must not be an error. */
  async subscribe(
    topics: readonly string[],
    options: Readonly<Record<string, unknown>> = {},
  ): Promise<Frame> {
    const answer = await this.request({ type: 'subscribe', topics, ...options });
    if (answer.type !== 'subscribed') throw new Error(`subscribe was answered ${answer.raw}`);
    return answer;
  }

  /** The oldest frame of this type that no `next` has answered yet. */
  next(type: string, timeoutMs = WAIT_MS): Promise<Frame> {
    return this.take(`a frame of type ${type}`, (frame) => frame.type === type, timeoutMs);
  }

  /** The next `count` messages. */
  async nextMessages(count: number, timeoutMs = WAIT_MS): Promise<readonly Frame[]> {
    const frames: Frame[] = [];
    while (frames.length < count) frames.push(await this.next('message', timeoutMs));
    return frames;
  }

  /** Acknowledges and waits for the answer. */
  ack(...messageIds: readonly string[]): Promise<Frame> {
    return this.request({ type: 'ack', message_ids: messageIds });
  }

  /** Rejects and waits for the answer. `delay` is in seconds. */
  nack(messageIds: readonly string[], delay?: number): Promise<Frame> {
    return this.request({ type: 'nack', message_ids: messageIds, ...(delay === undefined ? {} : { delay }) });
  }

  /** Asks for more time and waits for the answer. */
  extend(...messageIds: readonly string[]): Promise<Frame> {
    return this.request({ type: 'extend', message_ids: messageIds });
  }

  /** Gives messages up and waits for the answer. */
  giveUp(...messageIds: readonly string[]): Promise<Frame> {
    return this.request({ type: 'terminate', message_ids: messageIds });
  }

  /** Waits for a pong: by then everything that the server had to say when it got the ping has come. */
  async sync(): Promise<void> {
    await this.request({ type: 'ping' });
  }

  /** Says goodbye and waits until the connection has closed. */
  async close(code = 1000): Promise<Closed> {
    this.socket.close(code);
    return this.closed;
  }

  /** Cuts the connection off. */
  async terminate(): Promise<Closed> {
    this.socket.terminate();
    return this.closed;
  }

  private onFrame(raw: string): void {
    const frame: Frame = { ...(JSON.parse(raw) as Omit<Frame, 'raw'>), raw };
    this.frames.push(frame);
    if (frame.type === 'message') this.messages.push(frame);
    for (const offer of this.waiting) if (offer(frame)) return;
    this.unread.push(frame);
  }

  private take(what: string, fits: (frame: Frame) => boolean, timeoutMs = WAIT_MS): Promise<Frame> {
    const found = this.unread.find(fits);
    if (found !== undefined) {
      this.unread = this.unread.filter((frame) => frame !== found);
      return Promise.resolve(found);
    }
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        this.waiting.delete(offer);
        clearTimeout(timer);
        const last = this.frames.slice(-5).map(({ raw }) => raw.slice(0, 300));
        reject(new Error(`${what} did not come ${why}; last of ${this.frames.length}:\n${last.join('\n')}`));
      };
      const offer = (frame: Frame): boolean => {
        if (!fits(frame)) return false;
        this.waiting.delete(offer);
        clearTimeout(timer);
        resolve(frame);
        return true;
      };
      const timer = setTimeout(() => fail(`within ${timeoutMs} ms`), timeoutMs);
      this.waiting.add(offer);
      void this.closed.then(({ code }) => {
        if (this.waiting.has(offer)) fail(`before the connection was closed with ${code}`);
      });
    });
  }
}

/** The HTTP answer to an upgrade that is refused. */
export const refusedUpgrade = async (
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: AnswerBody;
}> => {
  const asked = httpRequest(url.replace(/^ws/, 'http'), {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
      ...headers,
    },
  });
  asked.once('upgrade', (_response, socket) => socket.destroy(new Error('the upgrade was not refused')));
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: JSON.parse(text) as AnswerBody,
  };
};
