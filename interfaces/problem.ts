/**
 * Everything that can go wrong, as clients see it: one stable `code`, an HTTP status, and whether trying again later
 * can help. The same rows serve HTTP problems (RFC 9457) and WebSocket error frames. API.md lists every code; a test
 * fails when one is missing there.
 */
import { assertNever } from '../domain/assert-never.js';
import type { StoreUnavailable } from '../application/ports/event-store.js';
import type { Forbidden, Refusal } from '../application/refusals.js';

/** Each code's HTTP status, and whether the same request may succeed later. */
export const CODES = {
  invalid_json: { status: 400, temporary: false, title: 'The text is not valid JSON' },
  invalid_request: { status: 400, temporary: false, title: 'A field is missing or has a wrong value' },
  unauthorized: { status: 401, temporary: false, title: 'A valid token is required' },
  forbidden: { status: 403, temporary: false, title: 'The token does not allow this' },
  not_found: { status: 404, temporary: false, title: 'There is nothing at this address' },
  method_not_allowed: { status: 405, temporary: false, title: 'This address does not know the method' },
  request_timeout: { status: 408, temporary: true, title: 'The request did not arrive in time' },
  guarantee_mismatch: {
    status: 409,
    temporary: false,
    title: 'The subscription has another delivery guarantee',
  },
  subscription_contended: { status: 409, temporary: true, title: 'Others use the same subscription at once' },
  durability_unavailable: { status: 409, temporary: false, title: 'The storage cannot sync to disk' },
  payload_too_large: { status: 413, temporary: false, title: 'The message is too large' },
  unsupported_media_type: {
    status: 415,
    temporary: false,
    title: 'The body must be uncompressed application/json',
  },
  idempotency_key_reused: {
    status: 422,
    temporary: false,
    title: 'The idempotency key belongs to another message',
  },
  not_subscribed: { status: 409, temporary: false, title: 'The connection has no subscription yet' },
  client_id_mismatch: { status: 409, temporary: false, title: 'The connection has another client_id' },
  unknown_messages: {
    status: 404,
    temporary: false,
    title: 'Some ids were never delivered to this subscription',
  },
  upgrade_required: { status: 426, temporary: false, title: 'This address speaks WebSocket only' },
  too_many_requests: { status: 429, temporary: true, title: 'Too many requests are under way' },
  internal_error: { status: 500, temporary: true, title: 'The proxy has made a mistake' },
  too_many_connections: {
    status: 503,
    temporary: true,
    title: 'The proxy has as many connections as it may',
  },
  shutting_down: { status: 503, temporary: true, title: 'The proxy is shutting down' },
  storage_unavailable: { status: 503, temporary: true, title: 'The storage does not answer' },
  storage_full: { status: 507, temporary: true, title: 'The storage is full' },
} as const;

export type Code = keyof typeof CODES;

export interface Problem {
  readonly code: Code;
  readonly detail: string;
  /** The field that is wrong, as a path: `messages[3].topic`. */
  readonly field?: string;
  /** For a publish: is the message stored? `unknown` means that it may be. */
  readonly outcome?: 'not_stored' | 'unknown';
}

export const invalidRequest = (field: string, why: string): Problem => ({
  code: 'invalid_request',
  detail: `${field}: ${why}`,
  field,
});

/** The problem that a use case's refusal stands for. */
export const toProblem = (refusal: Refusal): Problem => {
  switch (refusal._tag) {
    case 'Forbidden':
      return {
        code: 'forbidden',
        detail: `The token does not allow to ${ACTIONS[refusal.action]} ${refusal.topic}.`,
      };
    case 'PayloadTooLarge':
      return {
        code: 'payload_too_large',
        detail: `The payload must not be larger than ${refusal.payloadBytesMax} bytes.`,
        field: 'payload',
      };
    case 'InvalidPublication':
      return invalidRequest(refusal.field, refusal.why);
    case 'IdempotencyKeyReused':
      return {
        code: 'idempotency_key_reused',
        detail: 'Another message was published with this idempotency key not long ago.',
      };
    case 'GuaranteeMismatch':
      return {
        code: 'guarantee_mismatch',
        detail: `The subscription was opened with delivery ${refusal.guarantee}; use another client_id for another guarantee.`,
        field: 'delivery',
      };
    case 'TooManyTopics':
      return invalidRequest('topics', `a subscription must not have more than ${refusal.topicsMax} topics`);
    case 'TopicNotFollowed':
      return invalidRequest('topics', `${refusal.topic} is not a topic of this subscription`);
    case 'InFlightExceeded':
      return invalidRequest('max_in_flight', `must not be more than ${refusal.maxInFlight}`);
    case 'NotDispatchable':
      // No client asks for a dispatch; whoever sees this has met a mistake of the proxy.
      return {
        code: 'internal_error',
        detail: `What was to be delivered next of ${refusal.topic} may not be delivered.`,
      };
    case 'VersionConflict':
      return {
        code: 'subscription_contended',
        detail: 'Another connection uses the same client_id at the same time.',
      };
    case 'StoreUnavailable':
      return ofStore(refusal);
    default:
      return assertNever(refusal);
  }
};

const ACTIONS = {
  publish: 'publish to',
  subscribe: 'subscribe to',
  manage: 'manage',
} as const satisfies Readonly<Record<Forbidden['action'], string>>;

const ofStore = ({ reason, outcome }: StoreUnavailable): Problem => {
  switch (reason) {
    case 'full':
      return { code: 'storage_full', detail: couldNot(reason), outcome };
    case 'not_durable':
      return {
        code: 'durability_unavailable',
        detail: 'The storage keeps no log that it could sync; publish with durability "stored".',
        outcome,
      };
    default:
      return { code: 'storage_unavailable', detail: couldNot(reason), outcome };
  }
};

const couldNot = (reason: StoreUnavailable['reason']): string =>
  `The storage could not take the request (${reason}).`;
