/**
 * The rings of ARCHITECTURE.md as rules. Each comment teaches the fix.
 * tests/architecture/dependency-rules.test.ts plants one violation per rule and expects it to fire.
 */
const ROOT_ONLY = 'inversify|reflect-metadata';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'domain-is-pure',
      comment:
        'The domain imports itself and fp-ts. Time, ids and I/O arrive in the command or belong in a port.',
      severity: 'error',
      from: { path: '^domain/' },
      to: { pathNot: ['^domain/', '^node_modules/fp-ts/'] },
    },
    {
      name: 'application-sees-domain',
      comment:
        'Use cases know the domain and the ports. What they need from outside is a port in application/ports.',
      severity: 'error',
      from: { path: '^application/' },
      to: { pathNot: ['^domain/', '^application/', '^node_modules/fp-ts/'] },
    },
    {
      name: 'interfaces-drive-application',
      comment: 'A route or frame handler calls a use case; stores and feeds are reached only through it.',
      severity: 'error',
      from: { path: '^interfaces/' },
      to: { path: '^infrastructure/' },
    },
    {
      name: 'infrastructure-implements-ports',
      comment: 'A driven adapter knows no route and no frame. Share the type through a port or the domain.',
      severity: 'error',
      from: { path: '^infrastructure/', pathNot: '^infrastructure/composition/' },
      to: { path: '^interfaces/' },
    },
    {
      name: 'use-cases-are-called-from-outside',
      comment:
        'An adapter that implements a port never calls a use case: it calls back what the application gave it.',
      severity: 'error',
      from: { path: '^infrastructure/', pathNot: '^infrastructure/composition/' },
      to: { path: '^application/(?!ports/)' },
    },
    {
      name: 'inversify-stays-at-the-root',
      comment: 'Dependencies are plain function arguments. Only infrastructure/composition binds them.',
      severity: 'error',
      from: { pathNot: ['^infrastructure/composition/', '^main\\.ts$', '^tests/'] },
      to: { path: `^node_modules/(${ROOT_ONLY})/` },
    },
    {
      name: 'root-is-a-leaf',
      comment: 'Only main.ts and tests start the graph; nothing else may look at it.',
      severity: 'error',
      from: { pathNot: ['^infrastructure/composition/', '^main\\.ts$', '^tests/'] },
      to: { path: '^infrastructure/composition/' },
    },
    {
      name: 'production-knows-no-tests',
      comment: 'What production needs does not live in tests/ or benchmarks/.',
      severity: 'error',
      from: { pathNot: '^(tests|benchmarks)/' },
      to: { path: '^(tests|benchmarks)/' },
    },
    {
      name: 'no-cycles',
      comment: 'Two files that need each other are one idea, or miss a third.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment:
        'An unresolved import silently satisfies every other rule. A peer of the benchmark is installed in its own folder, ' +
        'on demand, and what it imports is no dependency of this project.',
      severity: 'error',
      from: { pathNot: '^benchmarks/peers/socket\\.io/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
