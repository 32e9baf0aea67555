/** This service, as it is built. */
import type { Driver } from '../options.js';
import { startService } from '../servers/service.js';
import type { ServiceUnderTest } from './service-under-test.js';

export const pulsarWith = (driver: Driver): ServiceUnderTest => ({
  name: 'pulsar',
  title: driver === 'valkey' ? 'Pulsar Proxy + Valkey' : 'Pulsar Proxy, memory only',
  client: 'pulsar',
  hasStore: driver === 'valkey',
  cannot: {},
  missing: () => undefined,
  start: ({ folder, ...settings }) => startService(folder, settings),
});
