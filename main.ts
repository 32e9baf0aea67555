#!/usr/bin/env node
/**
 * The process: command line, configuration, signals and exit codes. Exit codes: 0 all is well, 1 a failure while
 * running or stopping, 78 a configuration that cannot be used (EX_CONFIG of sysexits.h).
 */
import { existsSync, readFileSync } from 'node:fs';
import { Command } from 'commander';
import { either as E } from 'fp-ts';
import { makeContainer } from './infrastructure/composition/container.js';
import { TOKENS } from './infrastructure/composition/tokens.js';
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

const EXIT_FAILURE = 1;
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
  const credentials =
    config.auth === undefined ? await makeDevelopmentCredentials(new SystemClock()) : { auth: config.auth };
  const container = makeContainer(config, credentials.auth, version);
  const logger = container.get(TOKENS.Logger);
  const lifecycle = container.get(TOKENS.Lifecycle);
  const { httpPort } = await lifecycle.start();
  if ('apiKey' in credentials) say(renderDevelopmentCredentials(credentials, httpPort));

  let isStopping = false;
  const stop = (signal: string): void => {
    if (isStopping) fail(`${signal} again: not waiting any longer`, EXIT_FAILURE);
    isStopping = true;
    const afterMs = config.server.drainDelayMs + config.server.drainTimeoutMs;
    // A clock, because the two together may be more than a timer of Node can hold.
    new SystemClock().after(afterMs, () => {
      logger.error('drain_timeout', { afterMs });
      process.exit(EXIT_FAILURE);
    });
    lifecycle.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error('stop_failed', { error });
        process.exit(EXIT_FAILURE);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('unhandledRejection', (error) => {
    logger.error('unhandled_rejection', { error });
    process.exit(EXIT_FAILURE);
  });
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
