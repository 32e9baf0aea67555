/** What the benchmark makes of its measurements. */
import { expect } from 'chai';
import { mosquitto } from '../../benchmarks/peers/mosquitto.js';
import { pulsarWith } from '../../benchmarks/peers/pulsar.js';
import { PEERS } from '../../benchmarks/peers/registry.js';
import type { ServiceUnderTest } from '../../benchmarks/peers/service-under-test.js';
import { toSvg } from '../../benchmarks/report/chart.js';
import { toComparison } from '../../benchmarks/report/comparison.js';
import { selfTimes } from '../../benchmarks/report/self-time.js';
import { summarise, type Summary } from '../../benchmarks/report/summary.js';
import { short } from '../../benchmarks/report/table.js';
import { SCENARIOS } from '../../benchmarks/scenarios/registry.js';
import { DEFAULT_SIZES } from '../../benchmarks/sizes.js';

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

describe('a comparison with peers', () => {
  const context = {
    date: '2026-11-23T12:00:00.000Z',
    machine: {
      cpu: 'a CPU',
      cores: 2,
      memoryGiB: 4,
      system: 'Linux',
      node: 'v20',
      valkey: '8.0.1',
      loadBefore: 0,
    },
    options: { runs: 1, seconds: 1, driver: 'valkey', sizes: DEFAULT_SIZES },
    cores: { service: 0, valkey: 1, generator: 1 },
  } as const;
  const summaryOf = (service: ServiceUnderTest, perSecond: number, cpuSeconds: number): Summary =>
    summarise(SCENARIOS[0]!, service, DEFAULT_SIZES, [
      {
        count: perSecond,
        elapsedSeconds: 1,
        cpu: { service: cpuSeconds, store: undefined, generator: 0 },
        latencyMs: undefined,
        figures: [],
        failures: [],
        lost: 0,
        duplicated: 0,
        reordered: 0,
        failed: 0,
      },
    ]);

  it('has ratios to what was measured, and a reason for what was not', () => {
    const markdown = toComparison({
      ...context,
      scenarios: [
        {
          title: 'Acked',
          ours: summaryOf(pulsarWith('valkey'), 2_000, 0.5),
          peers: [
            { title: 'Mosquitto', summary: summaryOf(mosquitto, 1_000, 0.5) },
            { title: 'Nchan', reason: 'has no acknowledgements' },
          ],
        },
      ],
      without: ['Replay'],
      missing: [{ service: 'socket.io', reason: 'npm ci has failed' }],
    });
    expect(markdown).to.match(/Mosquitto.*2\.00 × \| 0\.50 × \|/);
    expect(markdown).to.contain('| Nchan: has no acknowledgements | – |');
    expect(markdown).to.contain('none of the peers can do it: Replay');
    expect(markdown).to.contain('Not compared: socket.io (npm ci has failed)');
  });

  it('knows every scenario that a peer says it cannot do', () => {
    const names = SCENARIOS.map(({ name }) => name);
    expect(names).to.include.members(PEERS.flatMap(({ cannot }) => Object.keys(cannot)));
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
