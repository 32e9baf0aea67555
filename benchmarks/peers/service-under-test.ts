/** What a scenario can be run against: this service, or a peer. */
import type { ClientName } from '../generator/clients/client-name.js';
import type { ServiceProcess } from '../servers/service.js';

export interface ServiceUnderTest {
  /** For the command line and for charts. */
  readonly name: string;
  /** For the table. */
  readonly title: string;
  /** How the load generator talks to it. */
  readonly client: ClientName;
  /** Keeps messages in a Valkey, which is started for it. */
  readonly hasStore: boolean;
  /** The scenarios that it cannot be run in, by name, and why. It is run in all others. */
  readonly cannot: Readonly<Record<string, string>>;
  /** What has to be done before it can be started here; undefined where nothing has. May install. */
  missing(): string | undefined;
  start(settings: StartSettings): Promise<ServiceProcess>;
}

export interface StartSettings {
  /** For configuration, logs and data; gone afterwards. */
  readonly folder: string;
  readonly apiKey: string;
  readonly jwtSecret: string;
  readonly valkeyPort: number | undefined;
  /** The one core that it may use; undefined: any. */
  readonly core: number | undefined;
  /** Folder for a CPU profile. */
  readonly profile: string | undefined;
}
