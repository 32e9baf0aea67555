import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { either as E } from 'fp-ts';
import type { Config } from '../../../infrastructure/config/config.js';
import { renderProblems, type ConfigProblem } from '../../../infrastructure/config/config-problem.js';
import type { Environment } from '../../../infrastructure/config/environment.js';
import { loadConfig } from '../../../infrastructure/config/load-config.js';

const SEED_README = `server:
  http_port: 8080
  ws_port: 8081
  read_timeout: 30s
  write_timeout: 30s

valkey:
  host: localhost
  port: 6379
  password: ""
  db: 0
  pool_size: 100
  # Persistence settings (configured in valkey.conf)
  # appendonly yes
  # appendfsync everysec

storage:
  hot_tier_retention: 10m        # In-memory buffer
  persistent_tier_retention: 24h  # Valkey streams retention
  max_messages_per_topic: 1000000 # Trim streams at this count

limits:
  max_connections_per_instance: 10000
  max_message_size: 1048576  # 1MB
  rate_limit_per_client: 1000  # messages per minute
`;

const accepted = (text: string, env: Environment = {}): Config => {
  const result = loadConfig({ text, env });
  if (E.isLeft(result)) throw new Error(renderProblems(result.left));
  return result.right;
};

const refused = (text: string, env: Environment = {}): readonly ConfigProblem[] => {
  const result = loadConfig({ text, env });
  if (E.isRight(result)) throw new Error('the configuration was accepted');
  return result.left;
};

const refusedLines = (text: string, env: Environment = {}): readonly string[] =>
  renderProblems(refused(text, env)).split('\n');

describe('loadConfig', () => {
  describe('what it accepts', () => {
    it('accepts the configuration of the README as it stands there', () => {
      const config = accepted(SEED_README);
      expect(config.server).to.include({ httpPort: 8080, wsPort: 8081, readTimeoutMs: 30_000 });
      expect(config.valkey).to.include({ host: 'localhost', port: 6379, password: '', db: 0, poolSize: 100 });
      expect(config.storage).to.include({
        driver: 'valkey',
        hotTierRetentionMs: 600_000,
        persistentTierRetentionMs: 86_400_000,
        messagesPerTopicMax: 1_000_000,
      });
      expect(config.limits).to.include({
        connectionsPerInstanceMax: 10_000,
        messageBytesMax: 1_048_576,
        rateLimitPerClient: 1000,
      });
    });

    it('has a default for everything when nothing is given', () => {
      expect(accepted('')).to.deep.equal({
        server: {
          httpPort: 8080,
          host: '0.0.0.0',
          workers: 1,
          readTimeoutMs: 30_000,
          writeTimeoutMs: 30_000,
          drainTimeoutMs: 25_000,
          drainDelayMs: 0,
          maxPollTimeoutMs: 60_000,
        },
        valkey: {
          host: 'localhost',
          port: 6379,
          username: '',
          password: '',
          db: 0,
          poolSize: 100,
          keyPrefix: '',
          allowUnsafe: false,
          commandTimeoutMs: 2_000,
        },
        storage: {
          driver: 'memory',
          hotTierRetentionMs: 600_000,
          hotTierBytesMax: 268_435_456,
          persistentTierRetentionMs: 86_400_000,
          messagesPerTopicMax: 1_000_000,
          subscriptionRetentionMs: 604_800_000,
        },
        delivery: {
          ackTimeoutMs: 30_000,
          maxInFlight: 1000,
          maxDeliveries: 0,
          redeliveryBackoffMs: [0, 1_000, 5_000, 30_000],
          deadLetterTopic: 'dlq.{topic}',
          idempotencyWindowMs: 300_000,
          atMostOnceDurability: 'fsync',
        },
        limits: {
          connectionsPerInstanceMax: 10_000,
          messageBytesMax: 1_048_576,
          rateLimitPerClient: 1000,
          topicsPerSubscriptionMax: 100,
          bufferedBytesPerConnectionMax: 1_048_576,
        },
        log: { level: 'info' },
      });
    });

    it('reads a file of comments, an empty section and an empty key as not given', () => {
      expect(accepted('# nothing yet\n')).to.deep.equal(accepted(''));
      expect(accepted('server:\n  http_port:\nlimits:\n')).to.deep.equal(accepted(''));
    });

    it('lets both ports be the same and lets the system choose them', () => {
      expect(accepted('server: {http_port: 9000, ws_port: 9000}').server.wsPort).to.equal(9000);
      expect(accepted('server: {http_port: 0}').server.httpPort).to.equal(0);
    });

    it('reads sizes with and without a unit', () => {
      expect(accepted('limits: {max_message_size: 64KB}').limits.messageBytesMax).to.equal(65_536);
      expect(accepted('limits: {max_message_size: 100}').limits.messageBytesMax).to.equal(100);
    });
  });

  describe('the delivery section', () => {
    const delivery = (text: string) => accepted(`delivery: {${text}}`).delivery;

    it('reads the waits between deliveries as a list of durations, from a file or from a variable', () => {
      const waits = [1_000, 0, 60_000];
      expect(delivery('redelivery_backoff: [1s, 0, 1m]').redeliveryBackoffMs).to.deep.equal(waits);
      const env = { PULSAR_DELIVERY_REDELIVERY_BACKOFF: '["1s", "0s", "1m"]' };
      expect(accepted('', env).delivery.redeliveryBackoffMs).to.deep.equal(waits);
    });

    it('refuses a wait without a unit at its place, more than 32 of them, and one that is no list', () => {
      expect(refusedLines('delivery: {redelivery_backoff: [1s, 5]}')).to.deep.equal([
        'delivery.redelivery_backoff[1]: needs a unit, such as 500ms, 30s, 10m, 24h or 7d',
      ]);
      const most = Array<string>(32).fill('1s');
      expect(delivery(`redelivery_backoff: [${most.join()}]`).redeliveryBackoffMs).to.have.length(32);
      expect(refusedLines(`delivery: {redelivery_backoff: [${[...most, '1s'].join()}]}`)).to.deep.equal([
        'delivery.redelivery_backoff: must not have more than 32 items',
      ]);
      expect(refusedLines('delivery: {redelivery_backoff: 5s}')).to.deep.equal([
        'delivery.redelivery_backoff: must be a list',
      ]);
    });

    it('takes any template for the dead-letter topic that makes a topic, one name for all, or none', () => {
      for (const template of ['dlq.{topic}', '{topic}.failed', 'a.{topic}-b.c', 'failed', '']) {
        expect(delivery(`dead_letter_topic: '${template}'`).deadLetterTopic).to.equal(template);
      }
    });

    it('refuses a template that makes no topic, or the topic itself', () => {
      for (const template of [
        '{topic}',
        '{topic}.{topic}',
        'dlq.{name}',
        '$dlq.{topic}',
        'dlq.',
        'a b',
        '>',
      ]) {
        expect(refusedLines(`delivery: {dead_letter_topic: '${template}'}`), template).to.deep.equal([
          'delivery.dead_letter_topic: must be the name of a topic with at most one {topic} and something beside it, or empty',
        ]);
      }
    });

    it('remembers idempotency keys for a millisecond to a week', () => {
      expect(delivery('idempotency_window: 7d').idempotencyWindowMs).to.equal(604_800_000);
      for (const window of ['0s', '8d']) {
        expect(refusedLines(`delivery: {idempotency_window: ${window}}`)).to.deep.equal([
          'delivery.idempotency_window: must be from 1ms to 7d',
        ]);
      }
    });
  });

  describe('the storage driver', () => {
    it('is memory without a valkey section and valkey with one, even an empty one', () => {
      expect(accepted('').storage.driver).to.equal('memory');
      expect(accepted('valkey:\n').storage.driver).to.equal('valkey');
      expect(accepted('valkey: {host: v1}').storage.driver).to.equal('valkey');
    });

    it('is what it is said to be, whatever sections there are', () => {
      expect(accepted('valkey: {host: v1}\nstorage: {driver: memory}').storage.driver).to.equal('memory');
      const config = accepted('storage: {driver: valkey}');
      expect(config.storage.driver).to.equal('valkey');
      expect(config.valkey.host).to.equal('localhost');
    });
  });

  describe('the number of workers', () => {
    it('is a number, or auto for one for each CPU', () => {
      expect(accepted('valkey:\nserver: {workers: 4}').server.workers).to.equal(4);
      expect(accepted('valkey:\nserver: {workers: auto}').server.workers).to.equal('auto');
      expect(accepted('valkey:', { PULSAR_SERVER_WORKERS: 'auto' }).server.workers).to.equal('auto');
      for (const workers of ['0', '1.5', '-1', 'many', '5000']) {
        expect(refusedLines(`valkey:\nserver: {workers: ${workers}}`)).to.deep.equal([
          'server.workers: must be auto or a whole number from 1 to 1024',
        ]);
      }
    });

    it('is 1 with the memory driver, and who said otherwise is told', () => {
      expect(accepted('server: {workers: 1}').server.workers).to.equal(1);
      const [why, ...others] = refusedLines('server: {workers: auto}');
      expect(why).to.match(/^server\.workers: must be 1 with the memory driver, because/);
      expect(others).to.deep.equal([]);
      expect(refusedLines('', { PULSAR_SERVER_WORKERS: '2' })[0]).to.include('set by PULSAR_SERVER_WORKERS');
    });
  });

  describe('what it refuses', () => {
    it('tells every problem at once, each with its key', () => {
      const text = `
server: {http_port: 70000, read_timeout: 30, host: ''}
delivery: {max_in_flight: 0, ack_timeout: 0}
limits: {max_message_size: 1TB}
log: {level: loud}
`;
      expect(refusedLines(text)).to.have.members([
        'server.http_port: must be a whole number from 0 to 65535',
        'server.read_timeout: needs a unit, such as 500ms, 30s, 10m, 24h or 7d',
        'server.host: must be a name or an address',
        'delivery.max_in_flight: must be a whole number from 1 to 100000',
        'delivery.ack_timeout: must be from 1ms to 24d',
        'limits.max_message_size: must be a size in bytes such as 1048576, 64KB, 1MB or 1GB',
        'log.level: must be one of debug, info, warn, error, silent',
      ]);
    });

    it('refuses a key that it does not know and guesses which was meant', () => {
      expect(refusedLines('server: {http_prot: 1}\nvalky: {}\ncolour: red')).to.have.members([
        'server.http_prot: is not a known key; did you mean http_port?',
        'valky: is not a known key; did you mean valkey?',
        'colour: is not a known key',
      ]);
    });

    it('refuses a list or a text where keys are expected', () => {
      expect(refusedLines('- server')).to.deep.equal(['config: must be a mapping of keys to values']);
      expect(refusedLines('server: yes please')).to.deep.equal([
        'server: must be a mapping of keys to values',
      ]);
      expect(refusedLines('server: 5', { PULSAR_SERVER_HTTP_PORT: '1' })).to.have.lengthOf(1);
    });

    it('refuses an unquoted number where text is expected, which would lose its zeros', () => {
      expect(refusedLines('valkey: {password: 007}')).to.deep.equal([
        'valkey.password: must be text; put it in quotes',
      ]);
    });

    it('refuses what is not YAML, and says where without quoting it', () => {
      expect(refusedLines('valkey:\n  password: "hunter2-hunter2\n')).to.satisfy(
        ([line]: readonly string[]) => /^config: is not valid YAML at line \d+, column \d+/.test(line!),
      );
      expect(renderProblems(refused('valkey:\n  password: "hunter2-hunter2\n'))).not.to.include('hunter2');
    });

    it('refuses a key that is given twice, a second document and an unknown tag', () => {
      expect(refusedLines('log: {}\nlog: {}')[0]).to.include('duplicate key');
      expect(refusedLines('log: {}\n---\nlog: {}')[0]).to.include('multiple docs');
      expect(refusedLines('log: {level: !env LEVEL}')[0]).to.include('tag resolve failed');
    });

    it('refuses aliases that expand to more than any configuration holds', () => {
      const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', 'b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]']
        .concat(['c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]', 'd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]'])
        .join('\n');
      expect(refusedLines(bomb)[0]).to.include('aliases expand to too much');
    });
  });

  describe('the environment', () => {
    it('wins over the file', () => {
      const env = { PULSAR_SERVER_HTTP_PORT: '9001', PULSAR_LIMITS_MAX_MESSAGE_SIZE: '2MB' };
      const config = accepted('server: {http_port: 9000, host: 127.0.0.1}', env);
      expect(config.server).to.include({ httpPort: 9001, host: '127.0.0.1' });
      expect(config.limits.messageBytesMax).to.equal(2_097_152);
    });

    it('is enough without a file, and names a Valkey as a section does', () => {
      const config = accepted('', { PULSAR_VALKEY_HOST: 'v1', PULSAR_VALKEY_ALLOW_UNSAFE: 'true' });
      expect(config.valkey).to.include({ host: 'v1', allowUnsafe: true });
      expect(config.storage.driver).to.equal('valkey');
    });

    it('takes text as it is, even where it looks like a number or like YAML', () => {
      const password = (text: string): string =>
        accepted('', { PULSAR_VALKEY_PASSWORD: text }).valkey.password;
      expect(password('007')).to.equal('007');
      expect(password('a: [b #c')).to.equal('a: [b #c');
      expect(password('')).to.equal('');
    });

    it('takes lists and mappings as YAML or JSON, and a single key below them too', () => {
      const config = accepted('', {
        PULSAR_AUTH_API_KEYS: '[{"name": "a", "key": "0123456789abcdef", "publish": ["orders.>"]}]',
        PULSAR_AUTH_JWT: '{secret: too-short, issuer: me}',
        PULSAR_AUTH_JWT_SECRET: 'x'.repeat(32),
        PULSAR_AUTH_JWT_DEFAULT_GRANTS_SUBSCRIBE: '["news.*"]',
      });
      expect(config.auth?.apiKeys[0]?.grants.publish).to.deep.equal(['orders.>']);
      expect(config.auth?.jwt).to.deep.equal({
        secret: 'x'.repeat(32),
        issuer: 'me',
        defaultGrants: { publish: [], subscribe: ['news.*'], manage: [] },
      });
    });

    it('sets a key back to its default with an empty variable', () => {
      expect(accepted('server: {http_port: 9000}', { PULSAR_SERVER_HTTP_PORT: '' }).server.httpPort).to.equal(
        8080,
      );
    });

    it('never makes up credentials because a secret is empty', () => {
      expect(refusedLines('', { PULSAR_AUTH_JWT_SECRET: '' })).to.deep.equal([
        'auth.jwt.secret: must be at least 32 bytes (set by PULSAR_AUTH_JWT_SECRET)',
      ]);
      expect(refusedLines('', { PULSAR_AUTH_API_KEYS: '' })).to.have.lengthOf(1);
    });

    it('is named where it is to blame', () => {
      expect(refusedLines('', { PULSAR_SERVER_HTTP_PORT: 'http', PULSAR_LOG_LEVEL: 'loud' })).to.have.members(
        [
          'server.http_port: must be a whole number from 0 to 65535 (set by PULSAR_SERVER_HTTP_PORT)',
          'log.level: must be one of debug, info, warn, error, silent (set by PULSAR_LOG_LEVEL)',
        ],
      );
      expect(refusedLines('', { PULSAR_AUTH_API_KEYS: '[{name: a}]' })).to.deep.equal([
        'auth.api_keys[0]: must have either key or hash (set by PULSAR_AUTH_API_KEYS)',
      ]);
    });

    it('refuses a variable that it does not know, except the one that names the file', () => {
      const env = { PULSAR_SERVER_HTTP_PROT: '1', PULSAR_CONFIG: '/etc/pulsar.yaml', PATH: '/bin' };
      expect(refusedLines('', env)).to.deep.equal([
        'PULSAR_SERVER_HTTP_PROT: is not a known variable; did you mean PULSAR_SERVER_HTTP_PORT?',
      ]);
    });

    it('refuses a variable that is not YAML without quoting it', () => {
      const problems = refused('', { PULSAR_AUTH_API_KEYS: '[{name: a, key: "0123456789abcdef' });
      expect(problems[0]).to.have.property('path', 'PULSAR_AUTH_API_KEYS');
      expect(renderProblems(problems)).not.to.include('0123456789abcdef');
    });

    it('is not confused by the variables of a Kubernetes service that has a similar name', () => {
      const config = accepted('', {
        PULSAR_PROXY_SERVICE_HOST: '10.0.0.1',
        PULSAR_PROXY_SERVICE_PORT: '8080',
        PULSAR_PROXY_SERVICE_PORT_HTTP: '8080',
        PULSAR_PROXY_PORT: 'tcp://10.0.0.1:8080',
        PULSAR_PROXY_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
        PULSAR_PROXY_PORT_8080_TCP_ADDR: '10.0.0.1',
        PULSAR_VALKEY_SERVICE_HOST: '10.0.0.2',
        PULSAR_VALKEY_PORT: 'tcp://10.0.0.2:6379',
      });
      expect(config).to.deep.equal(accepted(''));
    });

    it('still takes the port of a Valkey whose service has the same name', () => {
      const env = { PULSAR_VALKEY_SERVICE_HOST: '10.0.0.2', PULSAR_VALKEY_PORT: '6380' };
      expect(accepted('', env).valkey.port).to.equal(6380);
    });
  });

  describe('the auth section', () => {
    const KEY = 'a-key-of-no-fame';
    const SHA256 = createHash('sha256').update(KEY).digest('hex');
    const apiKeys = (text: string) => accepted(`auth: {api_keys: [${text}]}`).auth?.apiKeys;

    it('is absent when it is not given', () => {
      expect(accepted('')).not.to.have.property('auth');
    });

    it('keeps the digest of a key and not the key', () => {
      const config = accepted(`auth: {api_keys: [{name: a, key: ${KEY}}]}`);
      expect(config.auth?.apiKeys[0]?.sha256).to.equal(SHA256);
      expect(JSON.stringify(config)).not.to.include(KEY);
    });

    it('takes the digest itself, in either case', () => {
      expect(apiKeys(`{name: a, hash: "sha256:${SHA256.toUpperCase()}"}`)?.[0]?.sha256).to.equal(SHA256);
    });

    it('lets a key without patterns publish everywhere and do nothing else', () => {
      expect(apiKeys(`{name: a, key: ${KEY}}`)?.[0]?.grants).to.deep.equal({
        publish: ['>'],
        subscribe: [],
        manage: [],
      });
    });

    it('lets a key with patterns do what they say and nothing else', () => {
      expect(apiKeys(`{name: a, key: ${KEY}, subscribe: ['a.*'], manage: ['>']}`)?.[0]?.grants).to.deep.equal(
        {
          publish: [],
          subscribe: ['a.*'],
          manage: ['>'],
        },
      );
    });

    it('lets tokens without rights of their own subscribe to everything unless told otherwise', () => {
      const secret = 's'.repeat(32);
      expect(accepted(`auth: {jwt: {secret: ${secret}}}`).auth?.jwt?.defaultGrants).to.deep.equal({
        publish: [],
        subscribe: ['>'],
        manage: [],
      });
      const own = accepted(`auth: {jwt: {secret: ${secret}, default_grants: {publish: [chat]}}}`);
      expect(own.auth?.jwt?.defaultGrants).to.deep.equal({ publish: ['chat'], subscribe: [], manage: [] });
    });

    it('refuses a section that lets nobody in', () => {
      for (const text of ['auth: {}', 'auth:', 'auth: {api_keys: []}']) {
        expect(refused(text).map(({ path }) => path)).to.deep.equal(['auth']);
      }
    });

    it('refuses keys that are wrong, each at its place', () => {
      const text = `
auth:
  api_keys:
    - {name: both, key: ${KEY}, hash: "sha256:${SHA256}"}
    - {name: none}
    - {name: short, key: short}
    - {name: odd hash, hash: "md5:abc"}
    - {name: greedy, key: ${KEY}, publish: ['a.>.b', 'ok'], subscribe: '>'}
    - not-a-mapping
  jwt: {secret: short}
`;
      expect(refusedLines(text)).to.have.members([
        'auth.api_keys[0]: must have either key or hash',
        'auth.api_keys[1]: must have either key or hash',
        'auth.api_keys[2].key: must be 16 to 512 visible ASCII characters',
        'auth.api_keys[3].name: must be 1 to 64 letters, digits, _, . or -',
        'auth.api_keys[3].hash: must be sha256: and 64 hexadecimal digits',
        'auth.api_keys[4].publish[0]: > may only be the last segment',
        'auth.api_keys[4].subscribe: must be a list',
        'auth.api_keys[5]: must be a mapping of keys to values',
        'auth.jwt.secret: must be at least 32 bytes',
      ]);
    });

    it('refuses two keys of one name and two names of one key', () => {
      const text = `auth: {api_keys: [{name: a, key: ${KEY}}, {name: a, key: ${KEY}-2}, {name: b, key: ${KEY}}]}`;
      expect(refusedLines(text)).to.deep.equal([
        'auth.api_keys[1]: has the same name as [0]',
        'auth.api_keys[2]: has the same key as [0]',
      ]);
    });

    it('counts the bytes of a secret, not its characters', () => {
      expect(accepted(`auth: {jwt: {secret: '${'é'.repeat(16)}'}}`).auth?.jwt?.secret).to.equal(
        'é'.repeat(16),
      );
    });
  });

  it('never repeats a secret in what it complains about', () => {
    const SECRET = 'hunter2-äöü-9';
    const texts = [
      `valkey: {password: [${SECRET}]}`,
      `valkey: {${SECRET}: x}`,
      `auth: {jwt: {secret: ${SECRET}}}`,
      `auth: {jwt: {secret: {${SECRET}: 1}}}`,
      `auth: {jwt: ${SECRET}}`,
      `auth: {api_keys: [{name: a, key: ${SECRET}}]}`,
      `auth: {api_keys: [${SECRET}]}`,
      `auth: {api_keys: {${SECRET}: publish}}`,
      `auth: {api_keys: [{name: ${SECRET}, hash: ${SECRET}}]}`,
      `auth: {jwt: {secret: *${SECRET}}}`,
      `auth: {jwt: {secret: @${SECRET}}}`,
      `auth: {jwt: {secret: !${SECRET} x}}`,
      `auth: {jwt: {? ${SECRET} : 1, ${SECRET}: 2}}`,
    ];
    for (const text of texts) expect(renderProblems(refused(text)), text).not.to.include('hunter2');
    expect(renderProblems(refused('', { PULSAR_AUTH_JWT_SECRET: SECRET }))).not.to.include('hunter2');
  });
});
