/**
 * JsonLogger: Logger on pino, one JSON object per line to standard output.
 * Lines are written behind the caller's back and dropped when nobody reads them: a log collector that hangs must not
 * stop the messages. What is waiting is flushed when the process exits.
 */
import { destination, pino, stdTimeFunctions, type DestinationStream } from 'pino';
import type { Logger } from '../../application/ports/logger.js';
import { toLogFields } from './log-fields.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

type Fields = Readonly<Record<string, unknown>>;

/** Some thousand lines. */
const WAITING_CHARACTERS_MAX = 1024 * 1024;

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

const standardOutput = (): DestinationStream => {
  const stream = destination({ dest: 1, sync: false, maxLength: WAITING_CHARACTERS_MAX });
  // Without a listener a full disk behind standard output would end the process. There is nowhere left to report it to.
  stream.on('error', () => undefined);
  return stream;
};
