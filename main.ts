#!/usr/bin/env node
/**
 * The process: command line, configuration, signals and exit codes. With several workers it is their primary. Exit codes: 0 all is well, 1 a failure while
 * running or stopping, 78 a configuration that cannot be used (EX_CONFIG of sysexits.h).
 */
import cluster from 'node:cluster';
import { existsSync, readFileSync } from 'node:fs';
import { Command } from 'commander';
import { either as E } from 'fp-ts';
import { endAtUnhandledRejection, endInOrder, EXIT_FAILURE } from './infrastructure/composition/ending.js';
import { makeService, workersOf } from './infrastructure/composition/service.js';
import {
  makeDevelopmentCredentials,
  renderDevelopmentCredentials,
} from './infrastructure/auth/development-credentials.js';
import type { Config } from './infrastructure/config/config.js';
import { renderProblems } from './infrastructure/config/config-problem.js';
import { readConfig } from './infrastructure/config/read-config.js';
import { SystemClock } from './infrastructure/system/system-clock.js';

interface Options {
  readonly config?: string;
  readonly checkConfig?: true;
}

const EXIT_CONFIG = 78;

const say = (text: string): boolean => process.stdout.write(`${text}\n`);

const fail = (text: string, exitCode: number): never => {
  process.stderr.write(`${text}\n`);
  process.exit(exitCode);
};

const readVersion = (): string => {
  const beside = new URL('./package.json', import.meta.url);
  // Compiled, this file lies in dist/, one below package.json.
  const file = existsSync(beside) ? beside : new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version;
};

const run = async (config: Config, version: string): Promise<void> => {
  if (cluster.isWorker && workersOf(config.server) > 1) {
    fail(
      'server.workers: must be 1 where another process has made this one a worker of its own',
      EXIT_CONFIG,
    );
  }
  const credentials =
    config.auth === undefined ? await makeDevelopmentCredentials(new SystemClock()) : { auth: config.auth };
  let isStopping = false;
  const service = makeService(config, credentials.auth, version, (why) => {
    process.stderr.write(`${why}\n`);
    if (isStopping) return;
    isStopping = true;
    endInOrder(() => service.stop(), service.logger, config.server, EXIT_FAILURE);
  });
  const stop = (signal: string): void => {
    if (isStopping) fail(`${signal} again: not waiting any longer`, EXIT_FAILURE);
    isStopping = true;
    endInOrder(() => service.stop(), service.logger, config.server);
  };
  // Before anything has begun: a primary that a signal ends at once would leave a worker that hangs behind.
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  endAtUnhandledRejection(service.logger);

  const { httpPort } = await service.start();
  if ('apiKey' in credentials) say(renderDevelopmentCredentials(credentials, httpPort));
};

const version = readVersion();
const options = new Command('pulsar-proxy')
  .description('Real-time message proxy: POST to a topic, receive over WebSocket or HTTP long-polling.')
  .option('--config <file>', 'configuration file (default: PULSAR_CONFIG, or config.yaml where it exists)')
  .option('--check-config', 'check the configuration and exit')
  .version(version)
  .parse()
  .opts<Options>();

const read = readConfig({ file: options.config, env: process.env });
if (E.isLeft(read)) fail(renderProblems(read.left), EXIT_CONFIG);
else if (options.checkConfig) say('The configuration is valid.');
else {
  run(read.right.config, version).catch((error: unknown) =>
    fail(error instanceof Error ? error.message : String(error), EXIT_FAILURE),
  );
}
