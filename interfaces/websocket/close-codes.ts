/**
 * Why a socket is closed (RFC 6455 §7.4). Of the private ones, 4000 to 4499 invite the client to reconnect and 4500 to
 * 4999 do not; a client needs to know the ranges only.
 */
import type { CloseReason } from '../../application/ports/client-connection.js';

export interface Close {
  readonly code: number;
  readonly reason: string;
}

export const CLOSES = {
  going_away: { code: 1012, reason: 'service restart' },
  binary_frame: { code: 1003, reason: 'text frames only' },
  internal_error: { code: 1011, reason: 'internal error' },
  auth_timeout: { code: 4001, reason: 'no token in time' },
  slow_consumer: { code: 4008, reason: 'slow consumer' },
  token_expired: { code: 4401, reason: 'token expired' },
  invalid_token: { code: 4501, reason: 'invalid token' },
  superseded: { code: 4509, reason: 'superseded by another connection' },
} as const satisfies Readonly<Record<CloseReason, Close>> & Readonly<Record<string, Close>>;

export type CloseName = keyof typeof CLOSES;
