import { expect } from 'chai';
import fc from 'fast-check';
import { elementSpans, isDeeperThan, memberSpan } from '../../../interfaces/codecs/json-text.js';

/** White space of JSON (RFC 8259 §2), often none. */
const space = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 3 }) },
);

/** Text of a string with whatever makes strings difficult: quotes, brackets, backslashes, escapes, any character. */
const stringText = fc.oneof(
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
  fc
    .array(
      fc.constantFrom(
        ...['a', '{', '}', '[', ']', ',', ':', ' ', '😀', '\u2028'],
        ...['\\"', '\\\\', '\\/', '\\n', '\\u0041', '\\ud83d\\ude00', '\\ud800'],
      ),
      { maxLength: 8 },
    )
    .map((parts) => `"${parts.join('')}"`),
);

const numberText = fc.oneof(
  fc.constantFrom('0', '-0', '1e400', '-1.50E+2', '123456789012345678901234567890', '0.1', '1E-7'),
  fc.integer().map(String),
);

/** Few keys, so that duplicates are common, and each may be written in several ways. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  a: ['"a"', String.raw`"\u0061"`],
  payload: [
    '"payload"',
    String.raw`"p\u0061yload"`,
    String.raw`"\u0070\u0061\u0079\u006C\u006f\u0061\u0064"`,
  ],
  pay: ['"pay"'],
  'payload"': [String.raw`"payload\""`, String.raw`"payload\u0022"`],
  'x\\': [String.raw`"x\\"`],
  '': ['""'],
};
const keyText = fc.constantFrom(...Object.values(KEYS).flat());

const { value } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  array: fc
    .array(
      fc.tuple(space, tie('value'), space).map((parts) => parts.join('')),
      { maxLength: 4 },
    )
    .chain((elements) => space.map((inner) => `[${elements.length === 0 ? inner : elements.join(',')}]`)),
  object: fc
    .array(
      fc
        .tuple(space, keyText, space, fc.constant(':'), space, tie('value'), space)
        .map((parts) => parts.join('')),
      { maxLength: 5 },
    )
    .chain((members) => space.map((inner) => `{${members.length === 0 ? inner : members.join(',')}}`)),
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom('true', 'false', 'null'),
    numberText,
    stringText,
    tie('array'),
    tie('object'),
  ),
}));

const around = fc.tuple(space, value, space).map(([before, text, behind]) => ({ before, text, behind }));

const isObject = (parsed: unknown): parsed is Readonly<Record<string, unknown>> =>
  typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed);

describe('values inside JSON text', () => {
  it('finds the member that JSON.parse finds, under every key and however it is written', () => {
    fc.assert(
      fc.property(around, ({ before, text, behind }) => {
        const whole = before + text + behind;
        const parsed: unknown = JSON.parse(whole);
        for (const key of [...Object.keys(KEYS), 'missing']) {
          const span = memberSpan(whole, key);
          const found = span === undefined ? undefined : whole.slice(span.start, span.end);
          const expected = isObject(parsed) && Object.hasOwn(parsed, key) ? parsed[key] : undefined;
          expect(found === undefined ? undefined : JSON.parse(found)).to.deep.equal(expected);
          expect(found?.trim()).to.equal(found);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('finds the elements that JSON.parse finds, in their order', () => {
    fc.assert(
      fc.property(around, ({ before, text, behind }) => {
        const whole = before + text + behind;
        const parsed: unknown = JSON.parse(whole);
        const found = elementSpans(whole, 0).map(
          ({ start, end }) => JSON.parse(whole.slice(start, end)) as unknown,
        );
        expect(found).to.deep.equal(Array.isArray(parsed) ? parsed : []);
      }),
      { numRuns: 2000 },
    );
  });

  it('finds what it is asked for inside of what it has found', () => {
    fc.assert(
      fc.property(fc.array(around, { minLength: 1, maxLength: 5 }), (values) => {
        const items = values.map(
          ({ before, text, behind }) => `{"a":[1],"payload":${before}${text}${behind}}`,
        );
        const whole = ` { "x" : [{}] , "messages" : [ ${items.join(' , ')} ] } `;
        const list = memberSpan(whole, 'messages')!;
        const payloads = elementSpans(whole, list.start).map(({ start }) =>
          memberSpan(whole, 'payload', start)!,
        );
        expect(payloads.map(({ start, end }) => whole.slice(start, end))).to.deep.equal(
          values.map(({ text }) => text),
        );
      }),
    );
  });

  it('takes the last of several members with the same key', () => {
    const text = String.raw`{"payload":1,"p\u0061yload":{"payload":2},"payload" : [3] }`;
    const { start, end } = memberSpan(text, 'payload')!;
    expect(text.slice(start, end)).to.equal('[3]');
  });

  it('finds nothing in what is no object and no array', () => {
    for (const text of ['[{"a":1}]', '"a"', '1', 'null', ' true '])
      expect(memberSpan(text, 'a')).to.equal(undefined);
    for (const text of ['{"a":[1]}', '"[1]"', '1', 'null']) expect(elementSpans(text, 0)).to.deep.equal([]);
  });

  it('measures depth as JSON.parse nests, strings left out', () => {
    const depthOf = (parsed: unknown): number =>
      typeof parsed === 'object' && parsed !== null
        ? 1 + Math.max(0, ...Object.values(parsed).map(depthOf))
        : 0;
    fc.assert(
      // Without keys that are there twice, of which JSON.parse forgets one.
      fc.property(fc.jsonValue({ maxDepth: 10 }), (json) => {
        const text = JSON.stringify(json, undefined, 1);
        const depth = depthOf(JSON.parse(text));
        expect(isDeeperThan(text, depth)).to.equal(false);
        if (depth > 0) expect(isDeeperThan(text, depth - 1)).to.equal(true);
      }),
    );
    expect(isDeeperThan(String.raw`["[[[\"[[[",{"{{{":"}"}]`, 2)).to.equal(false);
  });

  it('measures depth of any text, valid or not, in linear time', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void isDeeperThan(text, 3)));
    expect(isDeeperThan('['.repeat(1_000_000), 1_000_000)).to.equal(false);
    expect(isDeeperThan('"'.repeat(1_000_001), 0)).to.equal(false);
  });
});
