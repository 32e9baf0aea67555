/** docs/guarantees.md names a test for each promise; here, that every one of them is there, and run by somebody. */
import { existsSync, readFileSync } from 'node:fs';
import { expect } from 'chai';

interface Evidence {
  readonly file: string;
  readonly title: string;
}

const REFERENCE = /`(tests\/[^`]+\.ts)` › `([^`]+)`/g;

/** Every place in a source that names a test; the name as it is written there, whatever stands in for a part of it. */
const TITLE = /\b(?:it|scenario)\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g;

const evidenceIn = (markdown: string): readonly Evidence[] =>
  [...markdown.matchAll(REFERENCE)].map(([, file = '', title = '']) => ({ file, title }));

const titlesIn = (source: string): ReadonlySet<string> =>
  new Set(
    [...source.matchAll(TITLE)].map(([, single, double, template]) =>
      (single ?? double ?? template ?? '').replace(/\\(.)/g, '$1'),
    ),
  );

const missing = (evidence: readonly Evidence[]): readonly string[] =>
  evidence
    .filter(({ file, title }) => !existsSync(file) || !titlesIn(readFileSync(file, 'utf8')).has(title))
    .map(({ file, title }) => `${file} › ${title}`);

const markdown = readFileSync('docs/guarantees.md', 'utf8');
const evidence = evidenceIn(markdown);

describe('docs/guarantees.md', () => {
  it('names tests that exist, each by its file and its title', () => {
    expect(evidence).to.not.be.empty;
    expect(missing(evidence)).to.deep.equal([]);
  });

  it('names only files that are run: tests, contracts that tests call, and the fault suite', () => {
    const files = [...new Set(evidence.map(({ file }) => file))];
    expect(files.filter((file) => !/\.(test|contract|faults)\.ts$/.test(file))).to.deep.equal([]);
  });

  it('mentions no test otherwise, where nobody would miss it', () => {
    const mentioned = markdown.match(/`tests\/[^`]*`/g) ?? [];
    expect(mentioned).to.have.length(evidence.length);
  });

  it('has a test in every row of the table of faults', () => {
    const [, table = ''] = markdown.split('## What happens when something breaks');
    const rows = table
      .split('\n## ')[0]!
      .split('\n')
      .filter((line) => line.startsWith('|'));
    const faults = rows.slice(2);
    expect(faults).to.not.be.empty;
    expect(faults.filter((row) => evidenceIn(row).length === 0)).to.deep.equal([]);
  });

  it('would be told to be wrong with another title, another file, and a title that only contains one', () => {
    const [real] = evidence;
    const { file, title } = real!;
    const planted = [
      { file, title: `${title} or so` },
      { file, title: title.slice(1) },
      { file: 'tests/docs/guarantee.test.ts', title },
    ];
    expect(missing([real!, ...planted])).to.have.length(planted.length);
  });
});
