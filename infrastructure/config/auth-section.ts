/**
 * The `auth` section: keys and tokens. Stricter than the rest, because what is wrong here is open to everybody or
 * closed to everybody; and the only place that sees a key, which it turns into its digest at once.
 */
import { createHash } from 'node:crypto';
import { either as E } from 'fp-ts';
import type { Grants } from '../../application/ports/authenticator.js';
import { EVERY_TOPIC, parseTopicPattern, type TopicPattern } from '../../domain/topic/topic-pattern.js';
import type { ApiKeyConfig, AuthConfig, JwtConfig } from './config.js';
import { optional, refinedSection, required, section, withDefault, type Section } from './section.js';
import { listOf, parsedText, refined, text, type Complaint, type Leaf } from './setting.js';

const NAME_PATTERN = /^[A-Za-z0-9_.-]{1,64}$/;

/** Sixteen random characters are out of reach of guessing. Only what a header can carry: another key would never match. */
const KEY_PATTERN = /^[\x21-\x7e]{16,512}$/;
const HASH_PATTERN = /^sha256:[0-9a-fA-F]{64}$/;

/** RFC 7518 §3.2: a key of the same size as the hash output or larger must be used with HS256. */
const SECRET_BYTES_MIN = 32;

const patterns: Leaf<readonly TopicPattern[]> = listOf(parsedText('topic pattern', parseTopicPattern));

interface GivenApiKey {
  readonly name: string;
  readonly key?: string;
  readonly hash?: string;
  readonly publish?: readonly TopicPattern[];
  readonly subscribe?: readonly TopicPattern[];
  readonly manage?: readonly TopicPattern[];
}

const givenApiKey = section<GivenApiKey>('API key', {
  name: required(
    'name',
    text('1 to 64 letters, digits, _, . or -', (name) => NAME_PATTERN.test(name)),
  ),
  key: optional(
    'key',
    text('16 to 512 visible ASCII characters', (key) => KEY_PATTERN.test(key)),
  ),
  hash: optional(
    'hash',
    text('sha256: and 64 hexadecimal digits', (hash) => HASH_PATTERN.test(hash)),
  ),
  publish: optional('publish', patterns),
  subscribe: optional('subscribe', patterns),
  manage: optional('manage', patterns),
});

const apiKey = refined(givenApiKey, (given): E.Either<readonly Complaint[], ApiKeyConfig> => {
  const digests = digestsOf(given);
  const [sha256] = digests;
  return sha256 === undefined || digests.length > 1
    ? E.left([{ message: 'must have either key or hash' }])
    : E.right({ name: given.name, sha256, grants: grantsOf(given) });
});

const digestsOf = ({ key, hash }: GivenApiKey): readonly string[] => [
  ...(key === undefined ? [] : [createHash('sha256').update(key).digest('hex')]),
  ...(hash === undefined ? [] : [hash.slice('sha256:'.length).toLowerCase()]),
];

const grantsOf = ({ publish, subscribe, manage }: GivenApiKey): Grants =>
  publish === undefined && subscribe === undefined && manage === undefined
    ? { publish: [EVERY_TOPIC], subscribe: [], manage: [] }
    : { publish: publish ?? [], subscribe: subscribe ?? [], manage: manage ?? [] };

const apiKeys: Leaf<readonly ApiKeyConfig[]> = {
  kind: 'yaml',
  ...refined(listOf(apiKey), (keys) => {
    const complaints = keys.flatMap((key, i) => repetitionsOf(key, keys.slice(0, i), i));
    return complaints.length === 0 ? E.right(keys) : E.left(complaints);
  }),
};

/** A repeated name would let two backends share their subscriptions; a repeated key would stand for either. */
const repetitionsOf = (key: ApiKeyConfig, earlier: readonly ApiKeyConfig[], i: number): Complaint[] => {
  const sameName = earlier.findIndex(({ name }) => name === key.name);
  const sameKey = earlier.findIndex(({ sha256 }) => sha256 === key.sha256);
  return [
    ...(sameName === -1 ? [] : [{ at: `${i}`, message: `has the same name as [${sameName}]` }]),
    ...(sameKey === -1 ? [] : [{ at: `${i}`, message: `has the same key as [${sameKey}]` }]),
  ];
};

interface GivenGrants {
  readonly publish: readonly TopicPattern[];
  readonly subscribe: readonly TopicPattern[];
}

/** A token never manages: it would be every user of the application that signs it. */
const defaultGrants: Section<Grants> = refinedSection(
  section<GivenGrants>('grants', {
    publish: withDefault('publish', patterns, []),
    subscribe: withDefault('subscribe', patterns, []),
  }),
  (given) => E.right({ ...given, manage: [] }),
);

const jwt = section<JwtConfig>('JWT', {
  secret: required(
    'secret',
    text(`at least ${SECRET_BYTES_MIN} bytes`, (secret) => Buffer.byteLength(secret) >= SECRET_BYTES_MIN),
  ),
  issuer: optional('issuer', text()),
  audience: optional('audience', text()),
  defaultGrants: withDefault('default_grants', defaultGrants, { subscribe: [EVERY_TOPIC] }),
});

/** The section as it stands in the file. Nobody could be let in by an empty one, so it is refused. */
export const authSection: Section<AuthConfig> = refinedSection(
  section<AuthConfig>('auth', {
    apiKeys: withDefault('api_keys', apiKeys, []),
    jwt: optional('jwt', jwt),
  }),
  (auth) =>
    auth.apiKeys.length === 0 && auth.jwt === undefined
      ? E.left([
          { message: 'must have api_keys or jwt; without the section, credentials are made up at start' },
        ])
      : E.right(auth),
);
