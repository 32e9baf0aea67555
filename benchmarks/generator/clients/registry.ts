/** The services that the generator can talk to. */
import type { ClientName } from './client-name.js';
import { mqtt } from './mqtt.js';
import { nchan } from './nchan.js';
import { pulsar } from './pulsar.js';
import type { ServiceClient } from './service-client.js';
import { socketIo } from './socket-io.js';

export const CLIENTS: Readonly<Record<ClientName, ServiceClient>> = {
  pulsar,
  nchan,
  'socket.io': socketIo,
  mqtt,
};
