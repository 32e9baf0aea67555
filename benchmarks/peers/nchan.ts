/** nginx with the module Nchan, of Debian: in memory, or with its messages in a Valkey. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, launch, untilReady } from '../servers/child.js';
import type { ServiceUnderTest, StartSettings } from './service-under-test.js';

const MODULE = process.env['NCHAN_MODULE'] ?? '/usr/lib/nginx/modules/ngx_nchan_module.so';
const NGINX = process.env['NGINX'] ?? 'nginx';

/** More would not fit into its shared memory at the rates of the other scenarios. */
const MESSAGES_PER_TOPIC_MAX = 1_000;

const nchanOf = (hasStore: boolean): ServiceUnderTest => ({
  name: hasStore ? 'nchan+store' : 'nchan',
  title: hasStore ? 'Nchan + Valkey' : 'Nchan, memory only',
  client: 'nchan',
  hasStore,
  cannot: {
    'ingest-bulk': 'has no bulks',
    acked: 'has no acknowledgements',
    replay: `keeps ${MESSAGES_PER_TOPIC_MAX} messages of a topic here`,
  },
  missing: () =>
    existsSync(MODULE) && spawnSync(NGINX, ['-v']).status === 0
      ? undefined
      : 'apt-get install nginx-light libnginx-mod-nchan, or name them by NGINX and NCHAN_MODULE',
  start: async (settings) => {
    const folder = join(settings.folder, 'nginx');
    mkdirSync(folder);
    const port = await freePort();
    const file = join(folder, 'nginx.conf');
    writeFileSync(file, configuration(folder, port, settings));
    const child = launch({
      command: NGINX,
      args: ['-p', folder, '-c', file, '-e', join(folder, 'error.log')],
      core: settings.core,
      env: process.env,
      folder,
      outputFile: join(settings.folder, 'nginx.log'),
    });
    await untilReady('nginx', child, () => isServing(port));
    return { ...child, port };
  },
});

/** It listens before it has a worker; only an answer shows that there is one. */
const isServing = async (port: number): Promise<boolean> => {
  try {
    await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer();
    return true;
  } catch {
    return false;
  }
};

/** One worker, as one core is what is compared. Nothing is logged, and connections are kept for as long as it runs. */
const configuration = (folder: string, port: number, { valkeyPort }: StartSettings): string => {
  const store = valkeyPort === undefined ? '' : 'nchan_redis_pass store;';
  const upstream =
    valkeyPort === undefined ? '' : `upstream store { nchan_redis_server redis://127.0.0.1:${valkeyPort}; }`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${join(folder, kind)};`)
    .join(' ');
  return `
load_module ${MODULE};
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${join(folder, 'nginx.pid')};
error_log ${join(folder, 'error.log')} error;
events { worker_connections 32768; }
http {
  access_log off;
  ${temporary}
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  nchan_shared_memory_size 1024m;
  nchan_message_buffer_length ${MESSAGES_PER_TOPIC_MAX};
  nchan_message_timeout 10m;
  ${upstream}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/pub/(.+)$ { nchan_publisher http websocket; nchan_channel_id $1; ${store} }
    location ~ ^/sub/(.+)$ { nchan_subscriber websocket longpoll; nchan_channel_id $1; ${store} }
  }
}
`;
};

export const nchan = nchanOf(false);
export const nchanWithStore = nchanOf(true);
