/** The peers, the ones that store their messages first, and the floor below all of them last. */
import { bare } from './bare.js';
import { mosquitto } from './mosquitto.js';
import { nchan, nchanWithStore } from './nchan.js';
import type { ServiceUnderTest } from './service-under-test.js';
import { socketIo, socketIoWithStore } from './socket-io.js';

export const PEERS: readonly ServiceUnderTest[] = [
  nchanWithStore,
  socketIoWithStore,
  nchan,
  socketIo,
  mosquitto,
  bare,
];
