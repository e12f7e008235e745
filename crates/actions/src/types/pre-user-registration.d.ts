
// pre-user-registration: `exports.onExecutePreUserRegistration`

/** Somebody who is about to become a user. */
export interface PreUserRegistrationEvent {
  client?: Client;
  /** Values of integrations; empty. */
  configuration: Metadata;
  connection: Connection;
  /** Where the request came under another of the tenant's domains than its first. */
  custom_domain?: CustomDomain;
  organization?: Organization;
  request: Origin & { body: Parameters; query?: Parameters };
  secrets: Secrets;
  /** Not filled. */
  security_context?: { ja3?: string; ja4?: string };
  tenant: Tenant;
  /** Where there is an authorization request. */
  transaction?: Transaction;
  /** Without `user_id`: there is none yet. */
  user: UserToBe;
}

/** A user before there is one. */
export interface UserToBe {
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
  app_metadata: Metadata;
  user_metadata: Metadata;
}

/** What the Action may ask for. */
export interface PreUserRegistrationAPI {
  access: {
    /** Nobody is registered. The reason is for the log, the message for the person. */
    deny(reason: string, userMessage?: string): void;
  };
  user: UserAPI;
  validation: ValidationAPI;
  cache: CacheAPI;
  transaction: TransactionAPI;
}
