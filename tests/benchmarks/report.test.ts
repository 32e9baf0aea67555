/** What the benchmark makes of its measurements. */
import { expect } from 'chai';
import { toSvg } from '../../benchmarks/report/chart.js';
import { selfTimes } from '../../benchmarks/report/self-time.js';
import { short } from '../../benchmarks/report/table.js';

describe('a chart of the benchmark', () => {
  const chart = { title: 'a < b', subtitle: '', xLabel: 'rate', yLabel: 'ms' };

  it('marks every point and escapes its texts', () => {
    const points = [10, 100, 1_000].map((x) => ({ x, y: x / 2 }));
    const svg = toSvg({ ...chart, series: [{ name: 'p50', points }] });
    expect(svg.match(/<circle/g)).to.have.length(3);
    expect(svg).to.contain('a &lt; b');
    expect(svg).not.to.contain('NaN');
  });

  it('leaves out what a logarithmic axis has no place for', () => {
    const points = [
      { x: 0, y: 1 },
      { x: 1, y: 0 },
      { x: 1, y: 1 },
    ];
    const svg = toSvg({ ...chart, series: [{ name: 'p50', points }] });
    expect(svg.match(/<circle/g)).to.have.length(1);
    expect(svg).not.to.contain('NaN');
  });
});

describe('the self times of a profile', () => {
  it('adds up the samples of a function, without the time that the process was idle', () => {
    const frame = (functionName: string) => ({ functionName, url: 'file:///a/b/c/d.js', lineNumber: 6 });
    const nodes = [
      { id: 1, callFrame: frame('deliver') },
      { id: 2, callFrame: { functionName: '(idle)', url: '', lineNumber: -1 } },
      { id: 3, callFrame: frame('append') },
      { id: 4, callFrame: frame('deliver') },
    ];
    const profile = { nodes, samples: [1, 2, 3, 4], timeDeltas: [1_000, 50_000, 1_000, 2_000] };
    expect(selfTimes(profile, 1)).to.deep.equal([
      { name: 'deliver', place: 'b/c/d.js:7', share: 0.75, milliseconds: 3 },
    ]);
  });
});

describe('a figure in a table', () => {
  it('has three digits that count', () => {
    expect([0.6667, 9.5, 41.54, 99.97, 100, 12_345.6].map(short)).to.deep.equal([
      '0.667',
      '9.5',
      '41.5',
      '100',
      '100',
      '12,346',
    ]);
  });
});
