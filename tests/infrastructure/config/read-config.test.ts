import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import { readConfig } from '../../../infrastructure/config/read-config.js';

describe('readConfig', () => {
  let folder: string;
  const write = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  };

  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'pulsar-config-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('reads the file that is named, before the one that the environment names', () => {
    const file = write('a.yaml', 'server: {http_port: 1111}');
    const other = write('b.yaml', 'server: {http_port: 2222}');
    const read = readConfig({ file, env: { PULSAR_CONFIG: other } });
    expect(E.isRight(read) && [read.right.file, read.right.config.server.httpPort]).to.deep.equal([
      file,
      1111,
    ]);
  });

  it('reads the file that the environment names, and lets the environment win over it', () => {
    const file = write('a.yaml', 'server: {http_port: 1111, host: 127.0.0.1}');
    const read = readConfig({ env: { PULSAR_CONFIG: file, PULSAR_SERVER_HTTP_PORT: '3333' } });
    expect(E.isRight(read) && read.right.config.server).to.include({ httpPort: 3333, host: '127.0.0.1' });
  });

  it('refuses a file that is not there, rather than starting with the defaults', () => {
    const file = join(folder, 'missing.yaml');
    expect(readConfig({ file, env: {} })).to.deep.equal(
      E.left([{ path: file, message: 'cannot be read (ENOENT)' }]),
    );
  });
});
