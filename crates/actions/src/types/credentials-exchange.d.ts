
// credentials-exchange: `exports.onExecuteCredentialsExchange`

/** A client that gets a token for itself. */
export interface CredentialsExchangeEvent {
  accessToken: { customClaims: { [name: string]: any }; scope: string[] };
  client: Client;
  /** Values of integrations; empty. */
  configuration: Metadata;
  /** Where the request came under another of the tenant's domains than its first. */
  custom_domain?: CustomDomain;
  organization?: Organization;
  request: Request;
  resource_server: ResourceServer;
  secrets: Secrets;
  tenant: Tenant;
  transaction?: {
    /** What the Actions before this one have set. */
    metadata: { [key: string]: TransactionValue };
    requested_scopes: string[];
  };
}

/** What the Action may ask for. */
export interface CredentialsExchangeAPI {
  access: {
    /** The client gets this error and no token. */
    deny(code: 'invalid_scope' | 'invalid_request' | 'server_error', reason: string): void;
  };
  accessToken: {
    /** `null` removes the claim. Reserved names are left out, and the log of the execution says so. */
    setCustomClaim(name: string, value: any): void;
  };
  cache: CacheAPI;
  transaction: TransactionAPI;
}
