import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { parse } from 'yaml';
import { configSection } from '../../../infrastructure/config/config-sections.js';
import { environmentVariables } from '../../../infrastructure/config/environment.js';
import { loadConfig } from '../../../infrastructure/config/load-config.js';
import { isMapping, pathsOf } from '../../../infrastructure/config/section.js';

const EXAMPLE = readFileSync(join(process.cwd(), 'config.example.yaml'), 'utf8');

/** The example with every key set: as its comments say, a # goes away, and from the auth section the first of a line. */
const EVERYTHING_SET = EXAMPLE.split('\n')
  .map((line) => line.replace(/^#(?=auth:| {2})/, '').replace(/^( +)#(?=[a-z_]+:)/, '$1'))
  .join('\n');

const valueAt = (tree: unknown, path: readonly string[]): unknown =>
  path.reduce((node, key) => (isMapping(node) ? node[key] : undefined), tree);

describe('config.example.yaml', () => {
  it('is accepted', () => {
    expect(E.isRight(loadConfig({ text: EXAMPLE, env: {} }))).to.equal(true);
  });

  it('shows the defaults', () => {
    expect(loadConfig({ text: EXAMPLE, env: {} })).to.deep.equal(loadConfig({ text: 'valkey:', env: {} }));
  });

  it('is accepted with every key set that is behind a #', () => {
    expect(loadConfig({ text: EVERYTHING_SET, env: {} })).to.have.property('_tag', 'Right');
  });

  it('shows every key', () => {
    const tree: unknown = parse(EVERYTHING_SET);
    for (const { path } of pathsOf(configSection)) {
      expect(valueAt(tree, path), path.join('.')).not.to.equal(undefined);
    }
    const apiKeys = valueAt(tree, ['auth', 'api_keys']) as readonly object[];
    expect(new Set(apiKeys.flatMap((key) => Object.keys(key)))).to.deep.equal(
      new Set(['name', 'key', 'hash', 'publish', 'subscribe', 'manage']),
    );
  });

  it('has a comment above every key', () => {
    const lines = EVERYTHING_SET.split('\n');
    const keys = lines
      .map((line, i) => ({ line, before: lines[i - 1] }))
      .filter(({ line }) => /^ +(- )?\w+:/.test(line));
    for (const { line, before } of keys) expect(before, line).to.match(/^ *#/);
  });
});

describe('environment variables', () => {
  it('have a name of their own for every key', () => {
    const names = environmentVariables(configSection).map(({ name }) => name);
    expect(new Set(names).size).to.equal(names.length);
    expect(names).to.include.members([
      'PULSAR_SERVER_HTTP_PORT',
      'PULSAR_LIMITS_MAX_MESSAGE_SIZE',
      'PULSAR_AUTH_API_KEYS',
      'PULSAR_AUTH_JWT_SECRET',
    ]);
  });
});
