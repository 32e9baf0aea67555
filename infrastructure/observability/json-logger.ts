/**
 * JsonLogger: Logger on pino, one JSON object per line to standard output. What may be in a line is decided in
 * log-fields.ts, and how it gets out without holding up the messages in standard-output.ts.
 */
import { pino, stdTimeFunctions, type DestinationStream } from 'pino';
import type { Logger } from '../../application/ports/logger.js';
import { toLogFields } from './log-fields.js';
import { standardOutput } from './standard-output.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

type Fields = Readonly<Record<string, unknown>>;

export class JsonLogger implements Logger {
  private readonly pino;
  /** Stacks say where, which a developer wants to know; in production they are most of the log. */
  private readonly withStacks: boolean;

  constructor(level: LogLevel, to: DestinationStream = standardOutput()) {
    this.withStacks = level === 'debug';
    this.pino = pino(
      {
        level,
        messageKey: 'event',
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      to,
    );
  }

  debug(event: string, fields?: Fields): void {
    this.write('debug', event, fields);
  }

  info(event: string, fields?: Fields): void {
    this.write('info', event, fields);
  }

  warn(event: string, fields?: Fields): void {
    this.write('warn', event, fields);
  }

  error(event: string, fields?: Fields): void {
    this.write('error', event, fields);
  }

  private write(level: Exclude<LogLevel, 'silent'>, event: string, fields: Fields = {}): void {
    if (!this.pino.isLevelEnabled(level)) return;
    this.pino[level](toLogFields(fields, this.withStacks), event);
  }
}
