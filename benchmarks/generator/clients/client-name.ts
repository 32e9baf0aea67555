/** The kinds of service that the generator can talk to. By name, since a job travels between processes. */
export type ClientName = 'pulsar' | 'nchan' | 'socket.io' | 'mqtt';
