/** Mosquitto, of Debian. It keeps its messages in memory: its database is written now and then, not for each message. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { answersAt, freePort, launch, untilReady } from '../servers/child.js';
import type { ServiceUnderTest } from './service-under-test.js';

const MOSQUITTO = process.env['MOSQUITTO'] ?? 'mosquitto';

const HAS_NO_POLLS = 'has no long-poll';

/** It drops what a slow subscriber does not take; with these it does not, as long as there is memory. */
const CONFIGURATION = `
allow_anonymous true
persistence false
set_tcp_nodelay true
max_inflight_messages 1000
max_queued_messages 0
log_type error
`;

export const mosquitto: ServiceUnderTest = {
  name: 'mosquitto',
  title: 'Mosquitto, memory only',
  client: 'mqtt',
  hasStore: false,
  cannot: {
    'ingest-bulk': 'has no bulks',
    'publish-socket': 'has no HTTP: its ingest is by socket',
    'poll-one-topic': HAS_NO_POLLS,
    'poll-one-topic-light': HAS_NO_POLLS,
    'poll-many-topics': HAS_NO_POLLS,
    'held-polls': HAS_NO_POLLS,
    replay: 'keeps nothing for who was never there',
  },
  missing: () =>
    spawnSync(MOSQUITTO, ['-h']).error === undefined
      ? undefined
      : 'apt-get install mosquitto, or name it by MOSQUITTO',
  start: async (settings) => {
    const folder = join(settings.folder, 'mosquitto');
    mkdirSync(folder);
    const port = await freePort();
    const file = join(folder, 'mosquitto.conf');
    writeFileSync(file, `listener ${port} 127.0.0.1\n${CONFIGURATION}`);
    const child = launch({
      command: MOSQUITTO,
      args: ['-c', file],
      core: settings.core,
      env: process.env,
      folder,
      outputFile: join(settings.folder, 'mosquitto.log'),
    });
    await untilReady('mosquitto', child, () => answersAt(port));
    return { ...child, port };
  },
};
