/**
 * Sends appends to Valkey in groups: those of one tick share a script call, however many streams they are for.
 * HOT PATH, budget 14 µs per publish (npm run bench). Only one group is under way at a time and the next one grows
 * behind it: that is the group commit, and it needs no timer. The next one is sent before the one before it is answered.
 * At its bounds: a group takes at most GROUP_BYTES_MAX, a call what Valkey does in a few milliseconds, in which nobody
 * else is served, or one append; and appends beyond QUEUE_BYTES_MAX are refused as not stored.
 * Whatever happens, an append is answered within the command timeout of being queued or sent: a group that is not
 * answered in time takes down the socket and with it everything queued behind, which was never sent. With `isDurable`,
 * what was stored is answered once it is on the disk (disk-wait.ts), and everything within the timeout of being queued.
 */
import { Command, type Redis } from 'iovalkey';
import type { StoreUnavailable } from '../../application/ports/event-store.js';
import { DiskWait } from './disk-wait.js';
import { CONFLICT, FAILED, REPLIES_PER_STREAM, type Script } from './scripts.js';
import { fromErrorReply, fromSentCommand, notSent, notSynced } from './valkey-errors.js';
import { isNoScript, type ValkeyConnection } from './valkey-connection.js';

/** What appends to streams of one kind have in common, the same object for all of them. */
export interface AppendKind {
  readonly script: Script;
  /** In front of the streams. */
  readonly keys: readonly string[];
  /** In front of what is said of each stream. */
  readonly args: readonly string[];
  /** Streams in one call. */
  readonly streamsMax: number;
}

interface Counted {
  readonly texts: readonly string[];
  readonly eventCount: number;
}

/** An append to one stream, which may share a call with others of its kind. */
export interface StreamAppend extends Counted {
  readonly kind: AppendKind;
  readonly key: string;
  /** Where the stream is to end, or '': then what others append to the same stream may be stored with it. */
  readonly expected: string;
}

/** A script call of its own. */
export interface WholeCall extends Counted {
  readonly script: Script;
  readonly keys: readonly string[];
  /** In front of the texts. */
  readonly args: readonly string[];
}

export type Append = StreamAppend | WholeCall;

/** What the script has answered of this append: the replies from `at` on. The first of them is 0 where nothing was stored. */
export interface Replied {
  readonly _tag: 'Replied';
  readonly reply: readonly (number | string)[];
  readonly at: number;
  /** How many events of the same reply come before those of this append. */
  readonly eventsBefore: number;
}

export type AppendAnswer = Replied | StoreUnavailable;

interface Waiting {
  readonly append: Append;
  readonly bytes: number;
  /** Since when, in ms; 0 where nobody asks. */
  readonly since: number;
  readonly answer: (answer: AppendAnswer) => void;
}

/** What is stored in one stream in one piece. Never empty. */
type Section = Waiting[];

/** One script call: a section for each stream, or one section that is a call of its own. */
interface Call {
  readonly kind: AppendKind | undefined;
  /** How many calls of the group come before it. */
  readonly order: number;
  readonly sections: Section[];
  texts: number;
  bytes: number;
  /** It is sent with the text of the script and not with its digest: see `inOrder`. */
  isWithText: boolean;
}

/** The newest section of a stream; `isOpen`: more may be stored with it. */
interface Last {
  readonly call: Call;
  readonly section: Section;
  readonly isOpen: boolean;
}

/** `forgotten`: Valkey does not know the digest. `cut`: something else than Valkey has answered. */
type Outcome = 'answered' | 'forgotten' | 'cut';

interface GroupUnderWay {
  /** How many of its calls have no reply yet. */
  unreplied: number;
}

const GROUP_BYTES_MAX = 4 * 1024 * 1024;
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/** An event is two texts: so many events take Valkey about as long as one bulk of the most messages. */
const CALL_TEXTS_MAX = 2_000;
/** Of the appends themselves. Where they are large, the entries that are looked at mostly are, too. */
const CALL_BYTES_MAX = 128 * 1024;

export class AppendQueue {
  private queue: Waiting[] = [];
  private queuedBytes = 0;
  private underWay: GroupUnderWay | undefined = undefined;
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
      this.queue.push({ append, bytes, since, answer });
      this.schedule();
    });
  }

  private schedule(): void {
    if (this.underWay !== undefined || this.isScheduled) return;
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
    const calls = disk === undefined ? group(this.takeGroup()) : this.takeJoining(disk);
    const underWay: GroupUnderWay = { unreplied: calls.length };
    this.underWay = underWay;
    const isCut = await (disk === undefined ? this.send(calls, 'EVALSHA') : this.sendAndSync(disk, calls));
    // All of it was replied to, and the next group has been sent already.
    if (this.underWay !== underWay) return;
    this.underWay = undefined;
    if (isCut) {
      this.connection.reset(client);
      this.giveUp();
    }
    this.schedule();
  }

  /** Sends the calls and answers each when its reply is there; says whether the connection is to be given up. */
  private async send(calls: readonly Call[], command: 'EVALSHA' | 'EVAL'): Promise<boolean> {
    const sent = calls.map((call) => this.run(call, command));
    if (this.disk !== undefined) sent.push(this.sync(this.disk, calls));
    const outcomes = await Promise.all(sent);
    const isCut = outcomes.includes('cut');
    const forgotten = calls.filter((_, i) => outcomes[i] === 'forgotten');
    // A digest that Valkey has forgotten was not run, so that one failure may be sent again, with the text.
    if (forgotten.length > 0 && !isCut) return this.send(forgotten, 'EVAL');
    for (const { sections } of forgotten)
      for (const section of sections) fail(section, notSent('disconnected'));
    return isCut;
  }

  private async run(call: Call, command: 'EVALSHA' | 'EVAL'): Promise<Outcome> {
    try {
      const name = call.isWithText ? 'EVAL' : command;
      const reply = await sendScript(this.client, name, argumentsOf(call, name));
      this.onReplied();
      call.sections.forEach((section, i) =>
        this.onReply(section, reply as Replied['reply'], i * REPLIES_PER_STREAM),
      );
      return 'answered';
    } catch (error) {
      if (isNoScript(error)) return 'forgotten';
      const failure = fromSentCommand(error);
      for (const section of call.sections) fail(section, failure);
      return failure.outcome === 'unknown' ? 'cut' : 'answered';
    }
  }

  /**
   * With its last reply Valkey is done with the group. It is given the next one first, and works on that while these are
   * answered: the other way round, each would wait for the other (a tenth fewer messages per second).
   */
  private onReplied(): void {
    const { underWay, disk, queue } = this;
    if (underWay === undefined || disk !== undefined) return;
    underWay.unreplied -= 1;
    if (underWay.unreplied === 0 && queue.length > 0) void this.flush();
  }

  private onReply(section: Section, reply: Replied['reply'], at: number): void {
    const { disk } = this;
    const outcome = reply[at];
    if (outcome === FAILED) fail(section, fromErrorReply(String(reply[at + REPLIES_PER_STREAM - 1])));
    else if (disk === undefined || outcome === CONFLICT) answerEach(section, reply, at);
    else {
      disk.add({
        since: section[0]?.since ?? 0,
        answer: (failure) =>
          failure === undefined ? answerEach(section, reply, at) : fail(section, failure),
      });
    }
  }

  /** Asks for the disk, behind the calls. An error that Valkey answers is as good as a timeout: stored is stored. */
  private async sync(disk: DiskWait, calls: readonly Call[]): Promise<Outcome> {
    try {
      const waitMs = disk.waitMs(performance.now(), oldestOf(calls));
      disk.onAnswer(await this.client.call('WAITAOF', 1, 0, waitMs), performance.now());
      return 'answered';
    } catch (error) {
      disk.fail(notSynced(error));
      return fromSentCommand(error).outcome === 'unknown' ? 'cut' : 'answered';
    }
  }

  /** The socket's own timeout begins when something is sent; whoever asked before that was promised an answer, too. */
  private async sendAndSync(disk: DiskWait, calls: readonly Call[]): Promise<boolean> {
    const patienceMs = disk.patienceMs(performance.now(), oldestOf(calls));
    const impatience = setTimeout(() => this.connection.reset(this.client), patienceMs);
    const isCut = await this.send(calls, 'EVALSHA');
    clearTimeout(impatience);
    return isCut;
  }

  private takeGroup(): readonly Waiting[] {
    let groupBytes = 0;
    let count = 0;
    for (const { bytes } of this.queue) {
      groupBytes += bytes;
      if (count > 0 && groupBytes > GROUP_BYTES_MAX) break;
      count += 1;
      this.queuedBytes -= bytes;
    }
    const taken = this.queue;
    // Mostly all of them: then nothing is copied.
    this.queue = count === taken.length ? [] : taken.slice(count);
    return count === taken.length ? taken : taken.slice(0, count);
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

const bytesOf = ({ texts }: Append): number => {
  let bytes = 64;
  for (const text of texts) bytes += text.length;
  return bytes;
};

/**
 * Calls in such an order that each stream gets its events in the order in which they were pushed: an append may join a
 * call only where no later call has something for the same stream.
 */
const group = (taken: readonly Waiting[]): readonly Call[] => {
  const calls: Call[] = [];
  const open = new Map<AppendKind, Call>();
  const last = new Map<string, Last>();
  let hasFollowers = false;
  for (const waiting of taken) {
    const { append } = waiting;
    if (!('kind' in append)) {
      hasFollowers = true;
      calls.push(callOf(undefined, calls.length, waiting));
      // What comes behind it may be for the same stream.
      open.clear();
      last.clear();
      continue;
    }
    const { kind, key, expected } = append;
    const before = last.get(key);
    if (before?.isOpen === true && expected === '' && hasRoom(before.call, waiting)) {
      before.section.push(waiting);
      count(before.call, waiting);
      continue;
    }
    let call = open.get(kind);
    const isFull = call === undefined || call.sections.length >= kind.streamsMax || !hasRoom(call, waiting);
    if (call === undefined || isFull || (before !== undefined && before.call.order > call.order)) {
      call = callOf(kind, calls.length);
      calls.push(call);
      open.set(kind, call);
    }
    if (before !== undefined && before.call !== call) hasFollowers = true;
    const section = [waiting];
    call.sections.push(section);
    count(call, waiting);
    last.set(key, { call, section, isOpen: expected === '' });
  }
  return hasFollowers && calls.length > 1 ? inOrder(calls) : calls;
};

/**
 * A call whose script Valkey has forgotten is sent again, behind those whose script it knows. Where they may be for the
 * same stream, the first call of each script makes it known to those that follow: only who flushes the scripts in the
 * very moment between two of them can still change their order.
 */
const inOrder = (calls: readonly Call[]): readonly Call[] => {
  const known = new Set<Script>();
  for (const call of calls) {
    const script = scriptOf(call);
    call.isWithText = !known.has(script);
    known.add(script);
  }
  return calls;
};

const scriptOf = ({ kind, sections }: Call): Script =>
  kind?.script ?? (sections[0]?.[0]?.append as WholeCall).script;

const callOf = (kind: AppendKind | undefined, order: number, ...section: Section): Call => ({
  kind,
  order,
  sections: section.length === 0 ? [] : [section],
  texts: 0,
  bytes: 0,
  isWithText: false,
});

const hasRoom = (call: Call, { append, bytes }: Waiting): boolean =>
  call.texts + append.texts.length <= CALL_TEXTS_MAX && call.bytes + bytes <= CALL_BYTES_MAX;

const count = (call: Call, { append, bytes }: Waiting): void => {
  call.texts += append.texts.length;
  call.bytes += bytes;
};

/** `call` of the client, which would copy the arguments one by one, in the slowest way that there is (Array.flat). */
const sendScript = (client: Redis, name: 'EVALSHA' | 'EVAL', args: string[]): Promise<unknown> => {
  const command = new Command(name, [], { replyEncoding: 'utf8' });
  command.args = args;
  client.sendCommand(command);
  return command.promise;
};

/** Put together once, in the order in which they are sent: a group has hundreds, and each copy costs. */
const argumentsOf = ({ kind, sections }: Call, command: 'EVALSHA' | 'EVAL'): string[] => {
  if (kind === undefined) {
    const { script, keys, args, texts } = sections[0]?.[0]?.append as WholeCall;
    return [codeOf(script, command), String(keys.length), ...keys, ...args, ...texts];
  }
  const all = [codeOf(kind.script, command), String(kind.keys.length + sections.length), ...kind.keys];
  for (const section of sections) all.push((section[0]?.append as StreamAppend).key);
  for (const arg of kind.args) all.push(arg);
  for (const section of sections) {
    all.push((section[0]?.append as StreamAppend).expected, '');
    const countAt = all.length - 1;
    for (const { append } of section) for (const text of append.texts) all.push(text);
    all[countAt] = String(all.length - 1 - countAt);
  }
  return all;
};

const codeOf = ({ sha, source }: Script, command: 'EVALSHA' | 'EVAL'): string =>
  command === 'EVALSHA' ? sha : source;

/** Appends are taken in the order in which they came. */
const oldestOf = (calls: readonly Call[]): number | undefined => calls[0]?.sections[0]?.[0]?.since;

const answerEach = (section: Section, reply: Replied['reply'], at: number): void => {
  let eventsBefore = 0;
  for (const { append, answer } of section) {
    answer({ _tag: 'Replied', reply, at, eventsBefore });
    eventsBefore += append.eventCount;
  }
};

const fail = (section: Section, failure: StoreUnavailable): void => {
  for (const { answer } of section) answer(failure);
};
