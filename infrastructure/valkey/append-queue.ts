/**
 * Sends appends to Valkey in groups: those of one tick share a pipeline, those for one topic share a script call.
 * HOT PATH, budget 14 µs per publish (npm run bench). Only one pipeline is under way at a time and the next one grows
 * behind it: that is the group commit, and it needs no timer.
 * At its bounds: a group takes at most GROUP_BYTES_MAX, and appends beyond QUEUE_BYTES_MAX are refused as not stored.
 * Whatever happens, an append is answered within the command timeout of being queued or sent: a group that is not
 * answered in time takes down the socket and with it everything queued behind, which was never sent. With `isDurable`,
 * what was stored is answered once it is on the disk (disk-wait.ts), and everything within the timeout of being queued.
 */
import type { Redis } from 'iovalkey';
import type { StoreUnavailable } from '../../application/ports/event-store.js';
import { DiskWait } from './disk-wait.js';
import type { Script } from './scripts.js';
import { fromSentCommand, notSent, notSynced } from './valkey-errors.js';
import { isNoScript, type ValkeyConnection } from './valkey-connection.js';

/** One call of a script that appends: its fixed arguments, then the texts of its events. */
export interface Append {
  readonly script: Script;
  readonly keys: readonly [stream: string, ...others: string[]];
  /** Asked once for each call, by whichever append is the first in it. */
  readonly args: () => readonly string[];
  /** Appends to the same stream that are shareable have the same script and args, and may share a call. */
  readonly isShareable: boolean;
  readonly texts: readonly string[];
  readonly eventCount: number;
}

/** What the script has answered. Its first number is 0 where nothing was stored; a text at the end is a failure. */
export interface Replied {
  readonly _tag: 'Replied';
  readonly reply: readonly (number | string)[];
  /** How many events of the same call come before those of this append. */
  readonly eventsBefore: number;
}

export type AppendAnswer = Replied | StoreUnavailable;

interface Waiting {
  readonly append: Append;
  /** Since when, in ms; 0 where nobody asks. */
  readonly since: number;
  readonly answer: (answer: AppendAnswer) => void;
}

/** Appends that go out as one script call. */
interface Call {
  readonly waiting: Waiting[];
}

type Reply = readonly [error: Error | null, result: unknown];

const GROUP_BYTES_MAX = 4 * 1024 * 1024;
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;

export class AppendQueue {
  private queue: Waiting[] = [];
  private queuedBytes = 0;
  private isUnderWay = false;
  private isScheduled = false;
  private readonly disk: DiskWait | undefined;

  constructor(
    private readonly connection: ValkeyConnection,
    private readonly client: Redis,
    { isDurable }: { readonly isDurable: boolean },
  ) {
    if (isDurable) this.disk = new DiskWait(client.options.commandTimeout ?? 0);
  }

  push(append: Append): Promise<AppendAnswer> {
    if (this.client.status !== 'ready') return Promise.resolve(notSent('disconnected'));
    const bytes = bytesOf(append);
    if (this.queuedBytes + bytes > QUEUE_BYTES_MAX) return Promise.resolve(notSent('overloaded'));
    this.queuedBytes += bytes;
    const since = this.disk === undefined ? 0 : performance.now();
    return new Promise((answer) => {
      this.queue.push({ append, since, answer });
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
    const { client, disk } = this;
    if (this.queue.length === 0 && disk?.isEmpty !== false) return;
    if (client.status !== 'ready') {
      this.giveUp();
      return;
    }
    this.isUnderWay = true;
    const calls = disk === undefined ? group(this.takeGroup()) : this.takeJoining(disk);
    const isCut = await (disk === undefined ? this.send(calls, 'EVALSHA') : this.sendAndSync(disk, calls));
    this.isUnderWay = false;
    if (isCut) {
      this.connection.reset(client);
      this.giveUp();
    }
    this.schedule();
  }

  /** Sends the calls as one pipeline and answers each; says whether something else than Valkey has answered. */
  private async send(calls: readonly Call[], command: 'EVALSHA' | 'EVAL'): Promise<boolean> {
    const pipeline = this.client.pipeline();
    for (const call of calls) {
      const { script, keys, args } = argumentsOf(call);
      pipeline.call(
        command,
        command === 'EVALSHA' ? script.sha : script.source,
        keys.length,
        ...keys,
        ...args,
      );
    }
    if (this.disk !== undefined) {
      pipeline.call('WAITAOF', 1, 0, this.disk.waitMs(performance.now(), calls[0]?.waiting[0]?.since));
    }
    const replies: readonly Reply[] = await pipeline.exec().then(
      (results) => results ?? [],
      (error: unknown) => calls.map(() => [error as Error, undefined] as const),
    );
    const forgotten: Call[] = [];
    let isCut = false;
    for (const [i, call] of calls.entries()) {
      const [error, result] = replies[i] ?? NO_REPLY;
      if (error === null) this.onStored(call, result as Replied['reply']);
      else if (isNoScript(error)) forgotten.push(call);
      else {
        const failure = fromSentCommand(error);
        isCut ||= failure.outcome === 'unknown';
        answerAll(call, failure);
      }
    }
    if (this.disk !== undefined) isCut = this.onWaited(this.disk, replies[calls.length] ?? NO_REPLY) || isCut;
    // A digest that Valkey has forgotten was not run, so that one failure may be sent again, with the text.
    if (forgotten.length > 0 && !isCut) return this.send(forgotten, 'EVAL');
    for (const call of forgotten) answerAll(call, notSent('disconnected'));
    return isCut;
  }

  /** The socket's own timeout begins when something is sent; whoever asked before that was promised an answer, too. */
  private async sendAndSync(disk: DiskWait, calls: readonly Call[]): Promise<boolean> {
    const patienceMs = disk.patienceMs(performance.now(), calls[0]?.waiting[0]?.since);
    const impatience = setTimeout(() => this.connection.reset(this.client), patienceMs);
    const isCut = await this.send(calls, 'EVALSHA');
    clearTimeout(impatience);
    return isCut;
  }

  private onStored(call: Call, reply: Replied['reply']): void {
    const [first] = call.waiting;
    const replied = (eventsBefore: number): AppendAnswer => ({ _tag: 'Replied', reply, eventsBefore });
    if (this.disk === undefined || reply[0] === 0 || first === undefined) answerEach(call, replied);
    else {
      this.disk.add({
        since: first.since,
        answer: (failure) => (failure === undefined ? answerEach(call, replied) : answerAll(call, failure)),
      });
    }
  }

  /** An error that Valkey has answered is as good as a timeout: what was stored is stored. */
  private onWaited(disk: DiskWait, [error, result]: Reply): boolean {
    if (error === null) disk.onAnswer(result, performance.now());
    else disk.fail(notSynced(error));
    return error !== null && fromSentCommand(error).outcome === 'unknown';
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

  /** None while a sync is near; not those who have waited for so long that it would only be tried in vain. */
  private takeJoining(disk: DiskWait): readonly Call[] {
    const now = performance.now();
    if (!disk.mayJoin(now)) return [];
    const taken = this.takeGroup();
    const isLate = ({ since }: Waiting): boolean => disk.isLate(since, now);
    for (const { answer } of taken.filter(isLate)) answer(notSent('overloaded'));
    return group(taken.filter((waiting) => !isLate(waiting)));
  }

  /** What the next connection says of the disk says nothing of what was written over this one. */
  private giveUp(): void {
    this.disk?.fail(notSynced(undefined));
    const refused = this.queue;
    this.queue = [];
    this.queuedBytes = 0;
    for (const { answer } of refused) answer(notSent('disconnected'));
  }
}

const NO_REPLY: Reply = [new Error('no reply'), undefined];

const bytesOf = (append: Append): number => append.texts.reduce((sum, text) => sum + text.length, 64);

/** Calls in such an order that each stream gets its events in the order in which they were pushed. */
const group = (taken: readonly Waiting[]): readonly Call[] => {
  const calls: Call[] = [];
  const open = new Map<string, Call>();
  for (const waiting of taken) {
    const { keys, isShareable } = waiting.append;
    const [stream] = keys;
    const shared = isShareable ? open.get(stream) : undefined;
    if (shared !== undefined) {
      shared.waiting.push(waiting);
      continue;
    }
    const call = { waiting: [waiting] };
    calls.push(call);
    if (isShareable) open.set(stream, call);
    else open.delete(stream);
  }
  return calls;
};

const argumentsOf = (call: Call): Pick<Append, 'script' | 'keys'> & { readonly args: readonly string[] } => {
  const first = call.waiting[0];
  if (first === undefined) throw new Error('a call has at least one append');
  const { script, keys } = first.append;
  const args = [...first.append.args()];
  for (const { append } of call.waiting) for (const text of append.texts) args.push(text);
  return { script, keys, args };
};

const answerEach = (call: Call, answer: (eventsBefore: number) => AppendAnswer): void => {
  let eventsBefore = 0;
  for (const { append, answer: resolve } of call.waiting) {
    resolve(answer(eventsBefore));
    eventsBefore += append.eventCount;
  }
};

const answerAll = (call: Call, failure: StoreUnavailable): void => {
  for (const { answer } of call.waiting) answer(failure);
};
