import { expect } from 'chai';
import { JsonLogger, type LogLevel } from '../../../infrastructure/observability/json-logger.js';

type Line = Record<string, unknown>;

const logged = (level: LogLevel, use: (logger: JsonLogger) => void): readonly Line[] => {
  const lines: Line[] = [];
  use(new JsonLogger(level, { write: (line) => void lines.push(JSON.parse(line) as Line) }));
  return lines;
};

const loggedFields = (fields: Readonly<Record<string, unknown>>, level: LogLevel = 'info'): Line =>
  logged(level, (logger) => logger.error('something happened', fields))[0]!;

describe('JsonLogger', () => {
  it('writes one JSON object per event, with its level and time', () => {
    const [line] = logged('info', (logger) => logger.info('listening', { port: 8080 }));
    expect(line).to.include({ level: 'info', event: 'listening', port: 8080 });
    expect(new Date(line!['time'] as string).toJSON()).to.equal(line!['time']);
  });

  it('writes its own level and what is more important', () => {
    const useAll = (logger: JsonLogger): void => {
      logger.debug('d');
      logger.info('i');
      logger.warn('w');
      logger.error('e');
    };
    const events = (level: LogLevel) => logged(level, useAll).map((line) => line['event']);
    expect(events('debug')).to.deep.equal(['d', 'i', 'w', 'e']);
    expect(events('warn')).to.deep.equal(['w', 'e']);
    expect(events('silent')).to.deep.equal([]);
  });

  it('hides secrets and payloads, wherever they are', () => {
    const line = loggedFields({
      token: 'hunter2',
      Authorization: 'Bearer hunter2',
      key: 'hunter2',
      api_key: 'hunter2',
      jwtSecret: 'hunter2',
      list: [{ password: 'hunter2' }],
      deep: { message: { payload: { text: 'hunter2' } } },
      cause: Object.assign(new Error('refused'), { command: { args: ['hunter2'] } }),
      url: '/ws?token=hunter2&x=1',
      bytes: Buffer.from('hunter2'),
      client: 'web-1',
    });
    expect(JSON.stringify(line)).not.to.include('hunter2');
    expect(line).to.include({ client: 'web-1', token: '[hidden]', url: '/ws?token=[hidden]&x=1' });
  });

  it('writes of an error what it says, and its stack only at debug', () => {
    const cause = Object.assign(new TypeError('no route', { cause: new Error('cable') }), {
      code: 'EHOSTUNREACH',
    });
    expect(loggedFields({ cause })['cause']).to.deep.equal({
      type: 'TypeError',
      message: 'no route',
      code: 'EHOSTUNREACH',
      cause: { type: 'Error', message: 'cable' },
    });
    expect(loggedFields({ cause }, 'debug')['cause'])
      .to.have.property('stack')
      .that.includes('json-logger.test');
  });

  it('writes the errors inside of a refusal', () => {
    const refusal = { _tag: 'StoreUnavailable', outcome: 'unknown', cause: new Error('timeout') };
    expect(loggedFields({ refusal })['refusal']).to.deep.equal({
      ...refusal,
      cause: { type: 'Error', message: 'timeout' },
    });
  });

  it('never throws, whatever it is given', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const trap = {
      get boom(): never {
        throw new Error('boom');
      },
    };
    const fields = { circle, n: 10n, s: Symbol('s'), f: () => 1, d: new Date(NaN), u: undefined, nil: null };
    expect(loggedFields(fields)).to.include({ event: 'something happened', n: '10', s: 'Symbol(s)' });
    expect(loggedFields({ trap })).to.include({ event: 'something happened' });
  });

  it('bounds what it writes of long texts and lists', () => {
    const line = loggedFields({ text: 'x'.repeat(1_000_000), list: Array.from({ length: 10_000 }, () => 1) });
    expect(JSON.stringify(line).length).to.be.lessThan(3_000);
  });
});
