/** Node itself: what a message costs on this machine where nothing is promised. Speaks as Nchan does. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { answersAt, freePort, launch, untilReady } from '../servers/child.js';
import { NODE_OPTIONS } from '../servers/service.js';
import type { ServiceUnderTest } from './service-under-test.js';

const SERVER = fileURLToPath(new URL('./bare-server.js', import.meta.url));

export const bare: ServiceUnderTest = {
  name: 'bare',
  title: 'Node itself, which promises nothing',
  client: 'nchan',
  hasStore: false,
  cannot: {
    'ingest-bulk': 'has no bulks',
    'publish-socket': 'takes messages by POST only',
    acked: 'has no acknowledgements',
    replay: 'keeps nothing',
  },
  missing: () => undefined,
  start: async ({ folder, core }) => {
    const port = await freePort();
    const child = launch({
      command: process.execPath,
      args: [...NODE_OPTIONS, SERVER],
      core,
      env: { ...process.env, NODE_ENV: 'production', PORT: String(port) },
      folder,
      outputFile: join(folder, 'bare.log'),
    });
    await untilReady('the bare server', child, () => answersAt(port));
    return { ...child, port };
  },
};
