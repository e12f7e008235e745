// What the triggers of Actions have in common.

/** When something happened: ISO 8601, `2026-01-01T10:00:00.000Z`. */
export type Instant = string;

/** Values that can be written as JSON. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** Metadata of users, whose values an Action knows better than this file. */
export interface Metadata {
  [key: string]: any;
}

/** Metadata of everything else: text by name. */
export interface TextMetadata {
  [key: string]: string;
}

/** Parameters of a request. */
export interface Parameters {
  [name: string]: any;
}

/** The values of the Action's secrets by their names. */
export interface Secrets {
  [name: string]: string;
}

/** Where an address lies, as far as the server has a database of it. */
export interface GeoIP {
  cityName?: string;
  continentCode?: string;
  countryCode?: string;
  countryCode3?: string;
  countryName?: string;
  latitude?: number;
  longitude?: number;
  subdivisionCode?: string;
  subdivisionName?: string;
  timeZone?: string;
}

/** Who asked, and from where. */
export interface Origin {
  /** The network that the address belongs to, or nothing. */
  asn?: string;
  geoip: GeoIP;
  hostname?: string;
  ip: string;
  language?: string;
  method: string;
  user_agent?: string;
}

/** The request that the flow began with. Parameters that prove something are left out. */
export interface Request extends Origin {
  body: Parameters;
  query: Parameters;
}

/** The application. */
export interface Client {
  client_id: string;
  name: string;
  metadata: TextMetadata;
}

/** What the identity was proven by. */
export interface Connection {
  id: string;
  name: string;
  strategy: string;
  metadata?: TextMetadata;
}

/** Not filled: this server has no organizations. */
export interface Organization {
  id: string;
  name: string;
  display_name: string;
  metadata: TextMetadata;
}

/** The API that tokens are for. */
export interface ResourceServer {
  identifier: string;
}

/** A domain of the tenant's. */
export interface CustomDomain {
  domain: string;
  domain_metadata: TextMetadata;
}

/** The tenant. */
export interface Tenant {
  /** The first part of its domain. */
  id: string;
}

/** How somebody authenticated. */
export interface AuthenticationMethod {
  /** `pwd`, for example. */
  name: string;
  timestamp: Instant;
  type?: string;
}

/** One of a user's identities. */
export interface Identity {
  connection: string;
  provider: string;
  user_id: string;
  isSocial: boolean;
  profileData?: Metadata;
}

/** A user. */
export interface User {
  user_id: string;
  email?: string;
  email_verified?: boolean;
  username?: string;
  phone_number?: string;
  phone_verified?: boolean;
  name?: string;
  nickname?: string;
  given_name?: string;
  family_name?: string;
  picture?: string;
  created_at: Instant;
  updated_at: Instant;
  last_password_reset?: Instant;
  app_metadata: Metadata;
  user_metadata: Metadata;
  identities: Identity[];
  /** Empty: this server has no second factors yet. */
  multifactor?: string[];
  /** Empty: this server has no second factors yet. */
  enrolledFactors?: { type: string; method?: string; options?: Metadata }[];
}

/** Values of one transaction's metadata. */
export type TransactionValue = string | number | boolean;

/** The authorization request, or what stands for it. */
export interface Transaction {
  id: string;
  acr_values: string[];
  correlation_id?: string;
  linking_id?: string;
  locale?: string;
  login_hint?: string;
  /** What the Actions before this one have set. */
  metadata: { [key: string]: TransactionValue };
  prompt: string[];
  protocol: Protocol;
  redirect_uri?: string;
  requested_authorization_details?: Metadata[];
  requested_scopes: string[];
  response_mode?: string;
  response_type: string[];
  state?: string;
  ui_locales: string[];
}

/** Tells the flows apart. */
export type Protocol =
  | 'oidc-basic-profile'
  | 'oidc-implicit-profile'
  | 'oidc-hybrid-profile'
  | 'oauth2-refresh-token'
  | 'oauth2-password'
  | (string & {});

/** An entry of the cache. */
export interface CacheRecord {
  value: string;
  /** Milliseconds since 1970. */
  created_at: number;
  /** Milliseconds since 1970. */
  expires_at: number;
}

/** What became of a change to the cache. */
export type CacheResult = { type: 'success'; record?: CacheRecord } | { type: 'error'; code: string };

/** Texts that outlive the execution, for all Actions of the trigger: a day at most, 20 of them, 8 KB together. */
export interface CacheAPI {
  get(key: string): CacheRecord | undefined;
  /** `ttl` and `expires_at` are milliseconds; the earlier counts. */
  set(key: string, value: string, options?: { ttl?: number; expires_at?: number }): CacheResult;
  delete(key: string): CacheResult;
}

/** What the Actions of one flow tell each other. */
export interface TransactionAPI {
  /** Is in `event.transaction.metadata` at once. */
  setMetadata(key: string, value: TransactionValue): void;
}

/** Metadata of the user: written after the Actions, key by key. */
export interface UserAPI {
  /** `null` removes the key. */
  setAppMetadata(key: string, value: any): void;
  /** `null` removes the key. */
  setUserMetadata(key: string, value: any): void;
}

/** Refusals with a code. */
export interface ValidationAPI {
  /** Denies, with a text for the person. */
  error(code: string, message: string): void;
}
