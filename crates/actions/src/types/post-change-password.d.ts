
// post-change-password: `exports.onExecutePostChangePassword`

/** A user whose password was changed. */
export interface PostChangePasswordEvent {
  /** Values of integrations; empty. */
  configuration: Metadata;
  connection: Connection;
  /** Where the request came under another of the tenant's domains than its first. */
  custom_domain?: CustomDomain;
  request: Origin;
  secrets: Secrets;
  tenant: Tenant;
  /** Where there is an authorization request. */
  transaction?: Transaction;
  user: User;
}

/** What the Action may ask for. */
export interface PostChangePasswordAPI {
  cache: CacheAPI;
  transaction: {
    /** Throws: nobody is sent anywhere after a change of password yet. */
    setResultUrl(url: string): void;
  };
}
