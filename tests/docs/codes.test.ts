import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { CODES } from '../../interfaces/problem.js';
import { CLOSES } from '../../interfaces/websocket/close-codes.js';

const api = readFileSync('API.md', 'utf8');

/** The cells of every row whose first cell is code in the table under this heading. */
const rowsUnder = (heading: string): readonly (readonly string[])[] => {
  const start = api.indexOf(`\n## ${heading}\n`);
  expect(start, `API.md has a section "${heading}"`).to.be.greaterThan(-1);
  const next = api.indexOf('\n## ', start + 1);
  return api
    .slice(start, next === -1 ? undefined : next)
    .split('\n')
    .filter((line) => /^\|\s*`/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
};

/** Closes that others say: ws itself to a frame that is too big, and whoever goes away. */
const CLOSES_OF_OTHERS = [1001, 1009];
const isReconnect = (code: number): boolean => (code >= 4000 ? code < 4500 : ![1003, 1009].includes(code));

describe('the tables of codes in API.md', () => {
  it('list every error code with its status and whether it is temporary, and no others', () => {
    const listed = rowsUnder('Error codes').map(([code, status, temporary]) => [code, status, temporary]);
    const known = Object.entries(CODES).map(([code, { status, temporary }]) => [
      `\`${code}\``,
      String(status),
      temporary ? 'yes' : 'no',
    ]);
    expect(listed).to.have.deep.members(known);
  });

  it('list every close code with whether to reconnect, and no others', () => {
    const listed = rowsUnder('Close codes').map(([code, reconnect]) => [code, reconnect]);
    const codes = [...Object.values(CLOSES).map(({ code }) => code), ...CLOSES_OF_OTHERS];
    const known = [...new Set<number>(codes)].map((code) => [
      `\`${code}\``,
      isReconnect(code) ? 'yes' : 'no',
    ]);
    expect(listed).to.have.deep.members(known);
  });
});
