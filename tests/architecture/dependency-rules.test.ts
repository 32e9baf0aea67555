/**
 * A rule that never fires looks like a rule that is kept. So each rule of .dependency-cruiser.cjs gets a small tree
 * with files that break it, next to a well-behaved neighbour that imports everything it may, and has to tell the two
 * apart. The tree stands in a temporary folder with packages of its own; the real one is checked at the end.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';

const ROOT = process.cwd();
const CONFIG = '.dependency-cruiser.cjs';
const CRUISER = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
const FOLDERS = ['domain', 'application', 'infrastructure', 'interfaces', 'tests', 'benchmarks'];

/** What each file may import, and does. */
const WELL_BEHAVED: Readonly<Record<string, readonly string[]>> = {
  'main.ts': ['reflect-metadata', './infrastructure/composition/container.js', 'node:process'],
  'domain/thing.ts': ['fp-ts', './part.js'],
  'domain/part.ts': [],
  'application/ports/store.ts': ['../../domain/thing.js', 'fp-ts'],
  'application/use-case.ts': ['./ports/store.js', '../domain/thing.js'],
  'infrastructure/memory/memory-store.ts': [
    '../../application/ports/store.js',
    '../../domain/thing.js',
    'node:fs',
  ],
  'infrastructure/composition/container.ts': [
    'inversify',
    '../memory/memory-store.js',
    '../../application/use-case.js',
    '../../interfaces/http/routes.js',
  ],
  // One half of a cycle, which is reported once: on its other half.
  'interfaces/http/hen.ts': ['./egg.js'],
  'interfaces/http/routes.ts': ['koa', '../../application/use-case.js', '../../application/ports/store.js'],
  'tests/support/builders.ts': [
    '../../domain/thing.js',
    '../../infrastructure/composition/container.js',
    'inversify',
  ],
  'benchmarks/run.ts': ['../tests/support/builders.js', '../infrastructure/memory/memory-store.js'],
};

interface Violation {
  readonly rule: string;
  readonly file: string;
  readonly imports: string;
}

const VIOLATIONS: readonly Violation[] = [
  { rule: 'domain-is-pure', file: 'domain/uses-port.ts', imports: '../application/ports/store.js' },
  { rule: 'domain-is-pure', file: 'domain/uses-node.ts', imports: 'node:fs' },
  { rule: 'domain-is-pure', file: 'domain/uses-package.ts', imports: 'koa' },
  {
    rule: 'application-sees-domain',
    file: 'application/uses-adapter.ts',
    imports: '../infrastructure/memory/memory-store.js',
  },
  {
    rule: 'application-sees-domain',
    file: 'application/uses-route.ts',
    imports: '../interfaces/http/routes.js',
  },
  { rule: 'application-sees-domain', file: 'application/ports/uses-package.ts', imports: 'koa' },
  { rule: 'application-sees-domain', file: 'application/uses-node.ts', imports: 'node:timers' },
  {
    rule: 'interfaces-drive-application',
    file: 'interfaces/uses-adapter.ts',
    imports: '../infrastructure/memory/memory-store.js',
  },
  {
    rule: 'infrastructure-implements-ports',
    file: 'infrastructure/auth/uses-route.ts',
    imports: '../../interfaces/http/routes.js',
  },
  {
    rule: 'use-cases-are-called-from-outside',
    file: 'infrastructure/auth/uses-use-case.ts',
    imports: '../../application/use-case.js',
  },
  {
    rule: 'inversify-stays-at-the-root',
    file: 'infrastructure/auth/uses-inversify.ts',
    imports: 'inversify',
  },
  {
    rule: 'inversify-stays-at-the-root',
    file: 'interfaces/http/uses-metadata.ts',
    imports: 'reflect-metadata',
  },
  {
    rule: 'root-is-a-leaf',
    file: 'infrastructure/auth/uses-container.ts',
    imports: '../composition/container.js',
  },
  {
    rule: 'production-knows-no-tests',
    file: 'infrastructure/auth/uses-builder.ts',
    imports: '../../tests/support/builders.js',
  },
  {
    rule: 'production-knows-no-tests',
    file: 'infrastructure/auth/uses-benchmark.ts',
    imports: '../../benchmarks/run.js',
  },
  { rule: 'no-cycles', file: 'interfaces/http/egg.ts', imports: './hen.js' },
  { rule: 'resolvable', file: 'interfaces/http/uses-nothing.ts', imports: './not-there.js' },
  { rule: 'resolvable', file: 'infrastructure/auth/uses-no-package.ts', imports: 'not-a-package' },
];

const PACKAGES = ['fp-ts', 'inversify', 'reflect-metadata', 'koa'];

interface Cruised {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

describe('The rules of dependency', function () {
  this.timeout(60_000);
  let planted: Cruised;

  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pulsar-rules-'));
    try {
      plant(folder);
      planted = await cruise(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const rulesBrokenBy = (file: string): readonly string[] =>
    planted.summary.violations.filter(({ from }) => from === file).map(({ rule }) => rule.name);

  for (const { rule, file, imports } of VIOLATIONS) {
    it(`${rule}: ${file} may not import ${imports}`, () => {
      expect(rulesBrokenBy(file)).to.deep.equal([rule]);
    });
  }

  it('allow everything that a well-behaved tree needs', () => {
    for (const file of Object.keys(WELL_BEHAVED)) expect(rulesBrokenBy(file), file).to.deep.equal([]);
  });

  it('each have a planted violation here', () => {
    const { forbidden } = createRequire(import.meta.url)(join(ROOT, CONFIG)) as {
      readonly forbidden: readonly { readonly name: string }[];
    };
    const names = new Set(VIOLATIONS.map(({ rule }) => rule));
    expect([...names].sort()).to.deep.equal(forbidden.map(({ name }) => name).sort());
  });

  it('are kept by the real tree', async () => {
    const { summary } = await cruise(ROOT);
    expect(summary.violations.map(({ from, to, rule }) => `${rule.name}: ${from} -> ${to}`)).to.deep.equal(
      [],
    );
    expect(summary.totalCruised).to.be.above(100);
  });
});

const plant = (folder: string): void => {
  for (const file of [CONFIG, 'package.json', 'tsconfig.json']) cpSync(join(ROOT, file), join(folder, file));
  const write = (path: string, text: string): void => {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const name of PACKAGES) {
    write(
      `node_modules/${name}/package.json`,
      JSON.stringify({ name, version: '1.0.0', exports: './index.js' }),
    );
    write(`node_modules/${name}/index.js`, '');
  }
  for (const [file, imports] of Object.entries(WELL_BEHAVED)) {
    write(file, imports.map((name) => `import '${name}';\n`).join('') + 'export const value = 1;\n');
  }
  // A type is a dependency too, although nothing of it is left after compiling.
  for (const { file, imports } of VIOLATIONS) {
    write(file, `import type * as value from '${imports}';\nexport type { value };\n`);
  }
};

const cruise = (folder: string): Promise<Cruised> =>
  new Promise((resolve, reject) => {
    const args = [CRUISER, '--config', CONFIG, '--output-type', 'json', 'main.ts', ...FOLDERS];
    const options = { cwd: folder, maxBuffer: 256 * 1024 * 1024 };
    // Its exit code counts violations; only an answer that cannot be read is a failure of the tool.
    execFile(process.execPath, args, options, (_error, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout) as Cruised);
      } catch {
        reject(new Error(`dependency-cruiser failed:\n${stderr}\n${stdout}`));
      }
    });
  });
