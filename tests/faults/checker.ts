/**
 * The judge of a fault run: a pure function from what happened to what should not have. Each rule stands below under
 * its name, with all that excuses it; what no rule names is allowed. `checker.test.ts` plants a violation of each.
 */
import {
  isMatched,
  offsetOfId,
  offsetOfText,
  topicOf,
  type Connection,
  type Forgotten,
  type History,
  type Publish,
  type SubscriptionEvent,
  type SubscriptionHistory,
} from './history.js';

export type Rule =
  | 'lost'
  | 'order'
  | 'redelivered_after_ack'
  | 'more_than_once'
  | 'phantom'
  | 'repeated_publish'
  | 'false_gap'
  | 'no_progress'
  | 'attempt';

export interface Violation {
  readonly rule: Rule;
  /** Empty where no subscription is concerned. */
  readonly clientId: string;
  readonly what: string;
  /** What else the history says about the message, oldest first. */
  readonly excerpt: readonly string[];
}

type Delivered = Extract<SubscriptionEvent, { type: 'Delivered' }>;
type GapTold = Extract<SubscriptionEvent, { type: 'GapTold' }>;

/** What several rules ask for, made once. */
interface Index {
  readonly history: History;
  readonly publishOf: ReadonlyMap<string, Publish>;
  readonly storedOffsets: ReadonlyMap<string, readonly number[]>;
}

/** Judges a history; empty where everything was kept that was promised. */
export const check = (history: History): readonly Violation[] => {
  const index = toIndex(history);
  return [
    ...repeatedPublishes(index),
    ...history.subscriptions.flatMap((subscription) => [
      ...phantoms(index, subscription),
      ...lost(index, subscription),
      ...disorder(index, subscription),
      ...redeliveredAfterAck(index, subscription),
      ...moreThanOnce(index, subscription),
      ...falseGaps(index, subscription),
      ...attempts(index, subscription),
      ...noProgress(index, subscription),
    ]),
  ];
};

/**
 * A stored message is in its stream once, and one that is not stored never. Holds for every message: a command that
 * was not answered may still be executed late, yet never twice, and an Idempotency-Key makes one of many attempts.
 * Excused: a stored message that is gone, where the storage may have forgotten it or somebody was told a gap over it.
 */
const repeatedPublishes = ({ history }: Index): readonly Violation[] => {
  const found: Violation[] = [];
  const idsOf = new Map<string, string[]>();
  for (const { payload, messageId } of history.stored) {
    const ids = idsOf.get(payload);
    if (ids === undefined) idsOf.set(payload, [messageId]);
    else ids.push(messageId);
  }
  for (const publish of history.publishes) {
    const ids = idsOf.get(publish.payload) ?? [];
    const said = `${publish.payload} in ${publish.topic} was answered ${publish.outcome}`;
    const tell = (rule: Rule, what: string): number =>
      found.push(violation(history, rule, '', `${said} and ${what}`, publish.messageId, publish.payload));
    if (ids.length > 1) tell('repeated_publish', `is stored ${ids.length} times: ${ids.join(', ')}`);
    if (publish.outcome === 'not_stored' && ids.length > 0) tell('phantom', `is stored as ${ids.join(', ')}`);
    if (publish.outcome !== 'stored' || isForgivable(history, publish)) continue;
    const isThere = publish.messageId !== undefined && ids.includes(publish.messageId);
    if (!isThere && !isToldAsGap(history, publish))
      tell('lost', `is not stored as ${String(publish.messageId)}, but as [${ids.join(', ')}]`);
  }
  return found;
};

/**
 * What is delivered was published: this payload, to this topic, and not answered `not_stored`. One message has one id
 * and one id has one message, except that the storage may have forgotten the first and been asked again.
 */
const phantoms = (
  { history, publishOf }: Index,
  { clientId, events }: SubscriptionHistory,
): readonly Violation[] => {
  const found: Violation[] = [];
  const payloadOf = new Map<string, string>();
  for (const event of deliveries(events)) {
    const { messageId, payload } = event;
    const tell = (what: string): number =>
      found.push(
        violation(history, 'phantom', clientId, `${messageId} ${payload} ${what}`, messageId, payload),
      );
    const publish = publishOf.get(payload);
    if (publish === undefined) tell('was never published');
    else if (publish.topic !== topicOf(messageId)) tell(`was published to ${publish.topic}`);
    else if (publish.outcome === 'not_stored') tell('was answered not_stored');
    else if (isStoredElsewhere(publish, messageId) && !isForgivable(history, publish))
      tell(`was answered stored as ${String(publish.messageId)}`);
    const before = payloadOf.get(messageId);
    if (before !== undefined && before !== payload) tell(`was ${before} before`);
    payloadOf.set(messageId, payload);
  }
  return found;
};

const isStoredElsewhere = ({ outcome, messageId }: Publish, deliveredAs: string): boolean =>
  outcome === 'stored' && messageId !== deliveredAs;

/**
 * At-least-once: whatever is stored of a subscription's topics after it was opened (with `earliest`: ever) comes to it
 * or lies in a gap that it was told. What has come and was never acknowledged has to come again until it is; so at the
 * end of a run, when everything is acknowledged that comes, there is nothing that came and was not.
 * A subscription is opened once. Excused: the storage may have forgotten that it was; then it begins anew.
 */
const lost = ({ history, publishOf }: Index, subscription: SubscriptionHistory): readonly Violation[] => {
  const { clientId, guarantee, topics, from, events } = subscription;
  if (guarantee === 'at_most_once') return [];
  const openings = events.filter((event) => event.type === 'Opened').filter(({ recovered }) => !recovered);
  const [first, last] = [openings[0], openings.at(-1)];
  if (first === undefined || last === undefined) return [];
  const found: Violation[] = [];
  const mayBegin = openings.slice(1).every((_, i) => isIn(history.forgotten, openings[i]!.atMs));
  if (!mayBegin)
    found.push(violation(history, 'lost', clientId, `the subscription was opened ${openings.length} times`));
  const sinceMs = first === last && from === 'earliest' ? -Infinity : last.atMs;

  const deliveredIds = new Set<string>();
  const deliveredPayloads = new Set<string>();
  const acknowledged = new Set<string>();
  for (const event of events) {
    if (event.type === 'Delivered') {
      deliveredIds.add(event.messageId);
      deliveredPayloads.add(event.payload);
    }
    if (event.type === 'AckSent') for (const id of event.messageIds) acknowledged.add(id);
  }
  const gaps = toGaps(events);
  for (const { outcome, topic, startedMs, messageId, payload } of history.publishes) {
    if (outcome !== 'stored' || messageId === undefined) continue;
    if (startedMs <= sinceMs || !isMatched(topics, topic)) continue;
    if (deliveredIds.has(messageId) || isCovered(gaps, messageId)) continue;
    found.push(violation(history, 'lost', clientId, `${messageId} never came`, messageId, payload));
  }
  for (const event of firstOfEach(deliveries(events))) {
    const { messageId, payload } = event;
    if (acknowledged.has(messageId) || isCovered(gaps, messageId)) continue;
    // The subscription that got it has been forgotten, and with it that it waited for an acknowledgement.
    if ((publishOf.get(payload)?.startedMs ?? 0) <= sinceMs) continue;
    const what = `${messageId} came, was never acknowledged, and did not come again`;
    found.push(violation(history, 'lost', clientId, what, messageId, payload));
  }
  return found;
};

/**
 * First deliveries of a topic come in the order of their offsets, on each connection and from one connection to those
 * that began later. What an older connection still had on its way when a newer one began may come at any time, and a
 * message that says that it is a further attempt may come for the first time, and late: the one before never arrived.
 * Excused: the storage may have forgotten how far the subscription was; then it goes on from where it was before.
 */
const disorder = (
  { history }: Index,
  { clientId, connections, events }: SubscriptionHistory,
): readonly Violation[] => {
  const found: Violation[] = [];
  const known = new Set<string>();
  const newest = new Map<string, Delivered>();
  for (const event of deliveries(events)) {
    const { messageId, attempt, connection } = event;
    const topic = topicOf(messageId);
    const isFirst = !known.has(messageId);
    known.add(messageId);
    if (attempt > 1) continue;
    for (const place of [`${topic} on ${connection}`, ...(isFirst ? [topic] : [])]) {
      const before = newest.get(place);
      const isInOrder = before === undefined || offsetOfId(before.messageId) < offsetOfId(messageId);
      const isForgotten =
        !isInOrder && connection !== before.connection && isIn(history.forgotten, before.atMs);
      if (isInOrder || isForgotten) {
        newest.set(place, event);
        continue;
      }
      if (connection < before.connection) continue;
      const what = `${messageId} came after ${before.messageId} on connection ${connection}`;
      const excerpt = [before, event].map((each) => toLine(each, connections));
      found.push({ rule: 'order', clientId, what, excerpt });
      break;
    }
  }
  return found;
};

/**
 * A message does not come again once its acknowledgement is confirmed: not on the same connection, and not on one that
 * began later. A connection that was already there may have it on its way.
 * Excused: the storage may have forgotten the acknowledgement.
 */
const redeliveredAfterAck = (
  { history }: Index,
  { clientId, connections, events }: SubscriptionHistory,
): readonly Violation[] => {
  const found: Violation[] = [];
  const confirmed = new Map<string, { readonly atMs: number; readonly connection: number }>();
  for (const event of events) {
    if (event.type === 'AckConfirmed') {
      for (const id of event.messageIds) if (!confirmed.has(id)) confirmed.set(id, event);
    }
    if (event.type !== 'Delivered') continue;
    const ack = confirmed.get(event.messageId);
    if (ack === undefined || isIn(history.forgotten, ack.atMs)) continue;
    const { messageId, payload, connection } = event;
    if (connection !== ack.connection && connections[connection]!.beganMs <= ack.atMs) continue;
    const what = `${messageId} came again on connection ${connection}`;
    found.push(violation(history, 'redelivered_after_ack', clientId, what, messageId, payload));
  }
  return found;
};

/**
 * At-most-once: nothing comes twice, whatever happens to proxies and connections.
 * Excused: the storage may have forgotten that it was given out, which it is told before.
 */
const moreThanOnce = (
  { history }: Index,
  { clientId, guarantee, connections, events }: SubscriptionHistory,
): readonly Violation[] => {
  if (guarantee === 'at_least_once') return [];
  const known = new Map<string, Delivered>();
  return deliveries(events).flatMap((event): readonly Violation[] => {
    const before = known.get(event.messageId);
    known.set(event.messageId, before ?? event);
    if (before === undefined || isIn(history.forgotten, before.atMs)) return [];
    const excerpt = [before, event].map((each) => toLine(each, connections));
    return [{ rule: 'more_than_once', clientId, what: `${event.messageId} came twice`, excerpt }];
  });
};

/** Told of a reader that was too slow, or of retention: the messages may be there still, or have been a moment ago. */
const NOT_OF_THE_STREAM = new Set(['slow_consumer', 'retention']);

/**
 * What lies in a gap does not come afterwards on the connection that told it, or on one that began later, and it is not
 * in the stream. A loss of the storage is only told where the storage has lost something.
 */
const falseGaps = (
  { history, storedOffsets }: Index,
  { clientId, connections, events }: SubscriptionHistory,
): readonly Violation[] => {
  const found: Violation[] = [];
  const told: GapTold[] = [];
  for (const event of events) {
    if (event.type === 'Delivered') {
      const { messageId, payload, connection } = event;
      const gap = told.find(
        (each) =>
          isCovered([toGap(each)], messageId) &&
          (connection === each.connection || connections[connection]!.beganMs > each.atMs),
      );
      if (gap === undefined) continue;
      const what = `${messageId} came after a gap over it: ${toLine(gap, connections)}`;
      found.push(violation(history, 'false_gap', clientId, what, messageId, payload));
    }
    if (event.type !== 'GapTold') continue;
    told.push(event);
    if (NOT_OF_THE_STREAM.has(event.reason)) continue;
    const { from, to } = toGap(event);
    const there = (storedOffsets.get(event.topic) ?? []).filter((offset) => offset > from && offset <= to);
    const tell = (why: string): number =>
      found.push(violation(history, 'false_gap', clientId, `${toLine(event, connections)}: ${why}`));
    if (there.length > 0) tell(`${there.length} of its messages are in the stream`);
    else if (event.reason !== 'removed' && !history.forgotten.some(({ fromMs }) => fromMs <= event.atMs))
      tell('the storage has lost nothing');
  }
  return found;
};

/**
 * The count of attempts of a message grows
 * - on one connection, from one delivery to the next;
 * - from what a poll was answered to everything on connections that began after the answer: a poll's attempt is
 *   recorded before it is answered. A socket's attempt is counted in the memory of its proxy until it is recorded, and
 *   may be counted again where the proxy died before.
 * Excused: the storage may have forgotten what a poll was answered.
 */
const attempts = (
  { history }: Index,
  { clientId, connections, events }: SubscriptionHistory,
): readonly Violation[] => {
  const found: Violation[] = [];
  const onConnection = new Map<string, number>();
  const recorded = new Map<string, Delivered>();
  for (const event of deliveries(events)) {
    const { messageId, payload, attempt, connection } = event;
    const place = `${connection} ${messageId}`;
    const before = onConnection.get(place) ?? 0;
    onConnection.set(place, attempt);
    const polled = recorded.get(messageId);
    const mustKnow =
      polled !== undefined &&
      connections[connection]!.beganMs > polled.atMs &&
      // Recorded before its answer left, so at some time since the poll began.
      !isWithin(history.forgotten, connections[polled.connection]!.beganMs, polled.atMs);
    if (connections[connection]!.via === 'poll') recorded.set(messageId, event);
    if (attempt > before && !(mustKnow && attempt <= polled.attempt)) continue;
    const what = `${messageId} came as attempt ${attempt} again`;
    found.push(violation(history, 'attempt', clientId, what, messageId, payload));
  }
  return found;
};

/** After healing, what is published comes to every at-least-once subscription in time. */
const noProgress = (
  { history, publishOf }: Index,
  { clientId, guarantee, topics, events }: SubscriptionHistory,
): readonly Violation[] => {
  if (guarantee === 'at_most_once') return [];
  const firsts = new Map(firstOfEach(deliveries(events)).map((event) => [event.payload, event.atMs]));
  return history.probes
    .filter(({ topic }) => isMatched(topics, topic))
    .filter(({ payload, healedMs, withinMs }) => (firsts.get(payload) ?? Infinity) > healedMs + withinMs)
    .map(({ topic, payload, withinMs }) => {
      const what = `${payload} in ${topic} did not come within ${withinMs} ms after healing`;
      return violation(history, 'no_progress', clientId, what, publishOf.get(payload)?.messageId, payload);
    });
};

// What the rules share.

interface Gap {
  readonly topic: string;
  /** Above this one, */
  readonly from: number;
  /** and up to this one. */
  readonly to: number;
}

const toGap = ({ topic, from, to }: GapTold): Gap => ({
  topic,
  from: offsetOfText(from),
  to: offsetOfText(to),
});

const toGaps = (events: readonly SubscriptionEvent[]): readonly Gap[] =>
  events.filter((event) => event.type === 'GapTold').map(toGap);

const isCovered = (gaps: readonly Gap[], messageId: string): boolean =>
  gaps.some(({ topic, from, to }) => {
    if (topic !== topicOf(messageId)) return false;
    const offset = offsetOfId(messageId);
    return offset > from && offset <= to;
  });

const isToldAsGap = ({ subscriptions }: History, { messageId }: Publish): boolean =>
  messageId !== undefined && subscriptions.some(({ events }) => isCovered(toGaps(events), messageId));

/** May the storage have forgotten that this was stored? */
const isForgivable = ({ forgotten }: History, { startedMs, answeredMs }: Publish): boolean =>
  forgotten.some(({ fromMs, toMs }) => startedMs <= toMs && answeredMs >= fromMs);

/** May it have been forgotten if it was recorded at some time between these two? */
const isWithin = (forgotten: History['forgotten'], beganMs: number, atMs: number): boolean =>
  forgotten.some(({ fromMs, toMs }) => beganMs <= toMs && atMs >= fromMs);

const isIn = (periods: readonly Forgotten[], atMs: number): boolean =>
  periods.some(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs);

const deliveries = (events: readonly SubscriptionEvent[]): readonly Delivered[] =>
  events.filter((event) => event.type === 'Delivered');

const firstOfEach = (events: readonly Delivered[]): readonly Delivered[] => [
  ...new Map([...events].reverse().map((event) => [event.messageId, event])).values(),
];

const toIndex = (history: History): Index => {
  const storedOffsets = new Map<string, number[]>();
  for (const { messageId } of history.stored) {
    const offsets = storedOffsets.get(topicOf(messageId));
    if (offsets === undefined) storedOffsets.set(topicOf(messageId), [offsetOfId(messageId)]);
    else offsets.push(offsetOfId(messageId));
  }
  return {
    history,
    publishOf: new Map(history.publishes.map((publish) => [publish.payload, publish])),
    storedOffsets,
  };
};

const violation = (
  history: History,
  rule: Rule,
  clientId: string,
  what: string,
  messageId?: string,
  payload?: string,
): Violation => ({ rule, clientId, what, excerpt: excerptOf(history, clientId, messageId, payload) });

/** All that the history says about one message and, where one is named, one subscription. */
const excerptOf = (
  { publishes, subscriptions }: History,
  clientId: string,
  messageId: string | undefined,
  payload: string | undefined,
): readonly string[] => {
  if (messageId === undefined && payload === undefined) return [];
  const published = publishes
    .filter((publish) => publish.payload === payload)
    .map(
      (publish) =>
        `${inSeconds(publish.startedMs)} published, ${publish.outcome} ${inSeconds(publish.answeredMs)}`,
    );
  const seen = subscriptions
    .filter((subscription) => subscription.clientId === clientId)
    .flatMap(({ events, connections }) =>
      events.filter((event) => isAbout(event, messageId)).map((event) => toLine(event, connections)),
    );
  return [...published, ...seen];
};

const isAbout = (event: SubscriptionEvent, messageId: string | undefined): boolean => {
  if (event.type === 'Opened') return true;
  if (messageId === undefined) return false;
  if (event.type === 'Delivered') return event.messageId === messageId;
  if (event.type === 'GapTold') return event.topic === topicOf(messageId);
  return event.messageIds.includes(messageId);
};

const toLine = (event: SubscriptionEvent, connections: readonly Connection[]): string => {
  const { at = '', via = '' } = connections[event.connection] ?? {};
  const where = `${inSeconds(event.atMs)} ${via} ${event.connection} at ${at}`;
  switch (event.type) {
    case 'Opened':
      return `${where}: opened${event.recovered ? ', recovered' : ''}`;
    case 'Delivered':
      return `${where}: got ${event.messageId} as attempt ${event.attempt}`;
    case 'GapTold':
      return `${where}: told a gap in ${event.topic} (${event.from}, ${event.to}] ${event.reason}`;
    case 'AckSent':
      return `${where}: sent an ack`;
    case 'AckConfirmed':
      return `${where}: ack confirmed`;
  }
};

const inSeconds = (ms: number): string => `${(ms / 1000).toFixed(3)} s`;

/** For people: the first few of each rule, with what the history says about them. */
export const renderViolations = (violations: readonly Violation[]): string => {
  const rules = [...new Set(violations.map(({ rule }) => rule))];
  return rules
    .map((rule) => {
      const of = violations.filter((each) => each.rule === rule);
      const shown = of.slice(0, SHOWN_MAX).map(({ clientId, what, excerpt }) => {
        const lines = excerpt.slice(0, EXCERPT_LINES_MAX).map((line) => `\n      ${line}`);
        return `\n  ${clientId === '' ? '' : `${clientId}: `}${what}${lines.join('')}`;
      });
      return `${rule}: ${of.length}${shown.join('')}`;
    })
    .join('\n');
};

const SHOWN_MAX = 4;
const EXCERPT_LINES_MAX = 25;
