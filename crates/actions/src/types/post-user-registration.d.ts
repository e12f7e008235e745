
// post-user-registration: `exports.onExecutePostUserRegistration`

/** Somebody who has become a user. */
export interface PostUserRegistrationEvent {
  client?: Client;
  /** Values of integrations; empty. */
  configuration: Metadata;
  connection: Connection;
  /** Where the request came under another of the tenant's domains than its first. */
  custom_domain?: CustomDomain;
  organization?: Organization;
  request: Origin;
  secrets: Secrets;
  tenant: Tenant;
  /** Where there is an authorization request. */
  transaction?: Transaction;
  user: User;
}

/** What the Action may ask for. */
export interface PostUserRegistrationAPI {
  cache: CacheAPI;
}
