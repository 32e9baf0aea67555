/**
 * The service, put together as main.ts does it, with an event store that kills the process at a failpoint. The
 * service itself knows no failpoints.
 */
import { either as E } from 'fp-ts';
import { makeContainer } from '../../infrastructure/composition/container.js';
import { TOKENS } from '../../infrastructure/composition/tokens.js';
import { renderProblems } from '../../infrastructure/config/config-problem.js';
import { readConfig } from '../../infrastructure/config/read-config.js';
import { FailingEventStore } from './failing-event-store.js';
import { FAILPOINT_VARIABLE, type Failpoint } from './failpoint.js';

/** A signal to oneself has arrived before the next line runs; the loop is for the compiler and for systems where not. */
const die = (): never => {
  for (;;) process.kill(process.pid, 'SIGKILL');
};

const read = readConfig({ env: process.env });
if (E.isLeft(read)) throw new Error(renderProblems(read.left));
const { config } = read.right;
if (config.auth === undefined) throw new Error('a failing proxy needs an auth section');
const failpoint = JSON.parse(process.env[FAILPOINT_VARIABLE] ?? '') as Failpoint;

const container = makeContainer(config, config.auth, '0.0.0-failing');
container
  .rebind(TOKENS.EventStore)
  .toResolvedValue(({ store }) => new FailingEventStore(store, failpoint, die), [TOKENS.Storage]);
await container.get(TOKENS.Lifecycle).start();
