/**
 * CachingAuthenticator: remembers whom a token stood for, because a client that publishes or polls sends the same token
 * with every request and a signature costs more than the rest of an empty poll.
 * HOT PATH, budget 0.5 µs per known token (npm run bench -- --scenario ingest --profile DIR).
 * Promises: nobody is remembered beyond `expiresAt`; at most `tokensMax` are, and those go first that were not used for
 * the most minutes; what was refused is asked again, so that guessing tokens pushes nobody out.
 *
 * For long, only digests are kept. The tokens of the last minute or two are kept as they are, since a digest for every
 * request costs 2 to 3 µs. That gives nothing away:
 * - Memory: the token of a request under way is in the memory of the process anyhow. Here no more than `tokensMax` stay,
 *   of `RECENT_CHARACTERS_MAX` together, and those of a minute go with the first request after the next one.
 * - Time: a Map finds a text by its hash, over all of the text and with a seed of this process's own. Texts are compared
 *   only where the hashes are equal, so what is right at the beginning of a guess makes no difference. What is not known
 *   goes to the inner authenticators, which compare in constant time.
 */
import { either as E, type taskEither as TE } from 'fp-ts';
import type { Authenticator, InvalidToken, Principal } from '../../application/ports/authenticator.js';
import type { Clock } from '../../application/ports/clock.js';
import type { Instant, Milliseconds } from '../../domain/time.js';
import { digestOf, TOKEN_CHARACTERS_MAX } from './token.js';

/** As many as the connections of one process by default; some hundred bytes each. */
const TOKENS_MAX = 10_000;

const RECENT_CHARACTERS_MAX = 8 * 1024 * 1024;
const RECENT_MS: Milliseconds = 60_000;

type Answer = E.Either<InvalidToken, Principal>;

export class CachingAuthenticator implements Authenticator {
  /**
   * By digest. A Map keeps the order of insertion, and what is used is inserted anew: once a minute, since a Map that
   * changes with every request keeps garbage alive.
   */
  private readonly principals = new Map<string, Principal>();
  /** By token; the answers themselves, so that a hit makes nothing. In two halves, of which the older goes at once. */
  private recent = new Map<string, E.Right<Principal>>();
  private earlier = new Map<string, E.Right<Principal>>();
  private recentCharacters = 0;
  private recentUntil: Instant = 0;

  constructor(
    private readonly inner: Authenticator,
    private readonly clock: Clock,
    private readonly tokensMax = TOKENS_MAX,
  ) {}

  authenticate(token: string): TE.TaskEither<InvalidToken, Principal> {
    // Too long to be anybody's: not even hashed.
    if (token.length > TOKEN_CHARACTERS_MAX) return this.inner.authenticate(token);
    return () => {
      const known = this.recallRecent(token);
      return known === undefined ? this.ask(token) : Promise.resolve(known);
    };
  }

  private recallRecent(token: string): Answer | undefined {
    const now = this.clock.now();
    // The clock may also have been set back.
    if (now >= this.recentUntil || now < this.recentUntil - RECENT_MS) {
      // Of a minute in which nobody came, nothing is left.
      if (now >= this.recentUntil + RECENT_MS) this.beginHalf();
      this.beginHalf();
      this.recentUntil = now + RECENT_MS;
    }
    const known = this.recent.get(token);
    if (known !== undefined) return isOver(known.right, now) ? undefined : known;
    const before = this.earlier.get(token);
    if (before === undefined || isOver(before.right, now)) return undefined;
    this.rememberRecent(token, before);
    return before;
  }

  private rememberRecent(token: string, answer: E.Right<Principal>): void {
    this.recent.set(token, answer);
    this.recentCharacters += token.length;
    if (this.recent.size >= this.tokensMax / 2 || this.recentCharacters >= RECENT_CHARACTERS_MAX / 2)
      this.beginHalf();
  }

  private beginHalf(): void {
    this.earlier = this.recent;
    this.recent = new Map();
    this.recentCharacters = 0;
  }

  private async ask(token: string): Promise<Answer> {
    const digest = digestOf(token).toString('base64');
    const principal = this.recall(digest);
    const answer: Answer =
      principal === undefined ? await this.inner.authenticate(token)() : E.right(principal);
    if (answer._tag === 'Right') {
      this.remember(digest, answer.right);
      this.rememberRecent(token, answer);
    }
    return answer;
  }

  private recall(digest: string): Principal | undefined {
    const principal = this.principals.get(digest);
    if (principal === undefined || !isOver(principal, this.clock.now())) return principal;
    this.principals.delete(digest);
    return undefined;
  }

  private remember(digest: string, principal: Principal): void {
    this.principals.delete(digest);
    this.principals.set(digest, principal);
    if (this.principals.size <= this.tokensMax) return;
    for (const oldest of this.principals.keys()) {
      this.principals.delete(oldest);
      return;
    }
  }
}

const isOver = ({ expiresAt }: Principal, now: Instant): boolean =>
  expiresAt !== undefined && now >= expiresAt;
