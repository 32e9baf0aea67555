/**
 * One Valkey for all contract tests of a mocha run: starting one takes longer than most suites. Each user takes its own
 * key prefix and so sees an empty store. Tests that break their Valkey start their own with `startValkey`.
 */
import { randomUUID } from 'node:crypto';
import { startValkey, type ValkeyServer } from './valkey-server.js';

let shared: Promise<ValkeyServer> | undefined;

/** The run's server, started by the first who asks. */
export const sharedValkey = (): Promise<ValkeyServer> => (shared ??= startValkey());

/** A key prefix that nobody else has. */
export const randomKeyPrefix = (): string => `test-${randomUUID()}:`;

// At the top level of a module that mocha loads, this is a hook of the whole run.
after(async () => {
  await (await shared)?.stop();
});
