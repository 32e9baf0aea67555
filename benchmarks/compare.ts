/**
 * `--compare`: each scenario against this service and, in the same run, against the peers that are installed and can do
 * it. A peer that fails is a line in the report and no reason to end: what it does is not ours to vouch for.
 */
import { measure, type MeasureSettings } from './measure.js';
import { PEERS } from './peers/registry.js';
import type { ServiceUnderTest } from './peers/service-under-test.js';
import { toComparison, type ComparedPeer, type ComparedScenario } from './report/comparison.js';
import type { Context } from './report/report.js';
import { isFaultless, summarise } from './report/summary.js';
import { writeResults } from './report/write-results.js';
import type { Scenario } from './scenarios/scenario.js';

export interface Output {
  readonly context: Context;
  readonly out: string;
}

export const compare = async (
  scenarios: readonly Scenario[],
  ours: ServiceUnderTest,
  settings: MeasureSettings,
  { context, out }: Output,
): Promise<boolean> => {
  const missing = PEERS.flatMap((peer) => {
    const reason = peer.missing();
    return reason === undefined ? [] : [{ service: peer.title, reason }];
  });
  for (const { service, reason } of missing) console.error(`${service} is not compared: ${reason}`);
  const peers = PEERS.filter(({ title }) => !missing.some(({ service }) => service === title));
  const compared: ComparedScenario[] = [];
  const without: string[] = [];
  for (const scenario of scenarios) {
    if (PEERS.every((peer) => peer.cannot[scenario.name] !== undefined)) {
      without.push(scenario.title(settings.sizes));
    } else compared.push(await compareOne(scenario, ours, peers, settings));
  }
  const comparison = { ...context, scenarios: compared, missing, without };
  const markdown = toComparison(comparison);
  await writeResults(out, { 'comparison.md': markdown, 'comparison.json': JSON.stringify(comparison) });
  console.log(markdown);
  return compared.every((one) => isFaultless(one.ours));
};

const compareOne = async (
  scenario: Scenario,
  ours: ServiceUnderTest,
  peers: readonly ServiceUnderTest[],
  settings: MeasureSettings,
): Promise<ComparedScenario> => {
  const { sizes } = settings;
  const own = summarise(scenario, ours, sizes, await measure(scenario, ours, settings));
  const others: ComparedPeer[] = [];
  for (const peer of peers) others.push(await measurePeer(scenario, peer, settings));
  return { title: scenario.title(sizes), ours: own, peers: others };
};

const measurePeer = async (
  scenario: Scenario,
  peer: ServiceUnderTest,
  settings: MeasureSettings,
): Promise<ComparedPeer> => {
  const { title } = peer;
  const reason = peer.cannot[scenario.name];
  if (reason !== undefined) return { title, reason };
  try {
    const runs = await measure(scenario, peer, settings);
    return { title, summary: summarise(scenario, peer, settings.sizes, runs) };
  } catch (error) {
    console.error(
      `${scenario.name}, ${peer.name}: ${error instanceof Error ? error.message : String(error)}`,
    );
    return { title, reason: 'failed' };
  }
};
