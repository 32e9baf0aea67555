/** What every authenticator knows about tokens. */
import { createHash } from 'node:crypto';
import type { InvalidToken } from '../../application/ports/authenticator.js';

/** The one answer for whatever is wrong with a token: a caller learns nothing by trying. */
export const INVALID_TOKEN: InvalidToken = { _tag: 'InvalidToken' };

/** 8 KiB is more than HTTP servers commonly take as a header; a longer token is not worth its cryptography. */
export const TOKEN_CHARACTERS_MAX = 8192;

/** SHA-256 of a token: of one length whatever the token, and no use to whoever finds it in memory. */
export const digestOf = (token: string): Buffer => createHash('sha256').update(token).digest();
