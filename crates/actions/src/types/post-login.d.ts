
// post-login: `exports.onExecutePostLogin`, `exports.onContinuePostLogin`

/** What somebody logs in with, and to what. */
export interface PostLoginEvent {
  authentication?: {
    methods: AuthenticationMethod[];
    /** Not filled: this server does not judge risks. */
    riskAssessment?: Metadata;
  };
  authorization?: {
    /** Names of roles. Empty: this server has no roles yet. */
    roles: string[];
  };
  client: Client;
  /** Values of integrations; empty. */
  configuration: Metadata;
  connection?: Connection;
  /** Where the request came under another of the tenant's domains than its first. */
  custom_domain?: CustomDomain;
  organization?: Organization;
  /** Where a refresh token is exchanged. */
  refresh_token?: RefreshToken;
  request: Request;
  /** The API, where one was asked for. */
  resource_server?: ResourceServer;
  secrets: Secrets;
  /** Not filled. */
  security_context?: { ja3?: string; ja4?: string };
  /** Absent where a flow has none: a password grant, a refresh token whose session is over. */
  session?: Session;
  stats: { logins_count: number };
  tenant: Tenant;
  transaction?: Transaction;
  user: User;
}

/** The session. Its id is final, and the Management API lists it already. */
export interface Session {
  id: string;
  user_id: string;
  authenticated_at: Instant;
  created_at: Instant;
  updated_at: Instant;
  last_interacted_at: Instant;
  expires_at: Instant;
  idle_expires_at: Instant;
  clients: { client_id: string }[];
  cookie: { mode: 'persistent' | 'non-persistent' };
  device: SessionDevice;
  metadata: TextMetadata;
}

/** Where the session was begun, and where it was used last. */
export interface SessionDevice {
  initial_asn?: string;
  initial_ip?: string;
  initial_user_agent?: string;
  last_asn?: string;
  last_ip?: string;
  last_user_agent?: string;
}

/** The refresh token that is exchanged. */
export interface RefreshToken {
  id: string;
  client_id: string;
  user_id: string;
  session_id?: string;
  created_at: Instant;
  expires_at?: Instant;
  idle_expires_at?: Instant;
  last_exchanged_at?: Instant;
  rotating: boolean;
  device: SessionDevice;
  resource_servers: { audience: string; scopes: string }[];
  metadata: TextMetadata;
}

/** A factor, where there are second factors. */
export interface Factor {
  type: string;
  options?: Metadata;
}

/** What the Action may ask for. It is done when all Actions of the flow have run. */
export interface PostLoginAPI {
  access: {
    /** Ends the login with `access_denied` and this reason. Actions behind this one do not run. */
    deny(reason: string): void;
  };
  accessToken: {
    /** `null` removes the claim. Reserved names are left out, and the log of the execution says so. */
    setCustomClaim(name: string, value: any): void;
    addScope(scope: string): void;
    removeScope(scope: string): void;
  };
  idToken: {
    /** `null` removes the claim. Reserved names are left out, and the log of the execution says so. */
    setCustomClaim(name: string, value: any): void;
  };
  authentication: {
    /** Throws: this server has no second factors yet. */
    challengeWith(factor: Factor, options?: { additionalFactors?: Factor[] }): void;
    /** Throws: this server has no second factors yet. */
    challengeWithAny(factors: Factor[]): void;
    /** Throws: this server has no second factors yet. */
    enrollWith(factor: Factor, options?: { additionalFactors?: Factor[] }): void;
    /** Throws: this server has no second factors yet. */
    enrollWithAny(factors: Factor[]): void;
    /** Throws: this server does not link accounts yet. */
    setPrimaryUser(primaryUserId: string): void;
    /** Throws: nothing heeds such a method yet. */
    recordMethod(url: string): void;
  };
  multifactor: {
    /** `none` is what everybody gets; anything else throws: this server has no second factors yet. */
    enable(
      provider: 'any' | 'duo' | 'guardian' | 'google-authenticator' | 'none',
      options?: { allowRememberBrowser?: boolean; providerOptions?: Metadata },
    ): void;
  };
  redirect: {
    /** Whether there is a browser that can be sent anywhere. */
    canRedirect(): boolean;
    /** A JWT (HS256) for the other site; 900 seconds, if nothing is said. */
    encodeToken(options: { secret: string; payload: { [claim: string]: any }; expiresInSeconds?: number }): string;
    /** Sends the browser there; it comes back to `/continue` with the `state` that is added. */
    sendUserTo(url: string, options?: { query?: { [name: string]: any } }): void;
    /** The claims of the token that the browser came back with. Throws where it is not valid. */
    validateToken(options: { secret: string; tokenParameterName?: string }): { [claim: string]: any };
  };
  refreshToken: {
    /** Ends the refresh token that is exchanged, and denies. Only where `event.transaction.protocol` is `oauth2-refresh-token`. */
    revoke(reason?: string): void;
    /** Milliseconds since 1970; of several the earliest, and no later than the client's life-time. */
    setExpiresAt(milliseconds: number): void;
    /** Milliseconds since 1970; of several the earliest, and no later than the client's life-time. */
    setIdleExpiresAt(milliseconds: number): void;
    /** `null` removes the key. */
    setMetadata(key: string, value: string | null): void;
    deleteMetadata(key: string): void;
    /** Removes every key. */
    evictMetadata(): void;
  };
  session: {
    /** Ends the session, its refresh tokens unless they are preserved, and denies this login. */
    revoke(reason?: string, options?: { preserveRefreshTokens?: boolean }): void;
    /** Milliseconds since 1970; of several the earliest, and no later than the tenant's life-time. */
    setExpiresAt(milliseconds: number): void;
    /** Milliseconds since 1970; of several the earliest, and no later than the tenant's life-time. */
    setIdleExpiresAt(milliseconds: number): void;
    setCookieMode(mode: 'persistent' | 'non-persistent'): void;
    /** `null` removes the key. */
    setMetadata(key: string, value: string | null): void;
    deleteMetadata(key: string): void;
    /** Removes every key. */
    evictMetadata(): void;
  };
  user: UserAPI;
  cache: CacheAPI;
  transaction: TransactionAPI;
  /** Each throws: this server does not speak SAML yet. */
  samlResponse: {
    setAttribute(name: string, value: any): void;
    setAudience(audience: string): void;
    setRecipient(recipient: string): void;
    setCreateUpnClaim(create: boolean): void;
    setPassthroughClaimsWithNoMapping(pass: boolean): void;
    setMapUnknownClaimsAsIs(map: boolean): void;
    setMapIdentities(map: boolean): void;
    setSignatureAlgorithm(algorithm: 'rsa-sha256' | 'rsa-sha1'): void;
    setDigestAlgorithm(algorithm: 'sha256' | 'sha1'): void;
    setDestination(destination: string): void;
    setLifetimeInSeconds(seconds: number): void;
    setSignResponse(sign: boolean): void;
    setNameIdentifierFormat(format: string): void;
    setNameIdentifierProbes(probes: string[]): void;
    setAuthnContextClassRef(reference: string): void;
    setSigningCert(certificate: string): void;
    setIncludeAttributeNameFormat(include: boolean): void;
    setTypedAttributes(typed: boolean): void;
    setEncryptionCert(certificate: string): void;
    setEncryptionPublicKey(key: string): void;
    setEncryptionAlgorithm(algorithm: string): void;
    setCert(certificate: string): void;
    setKey(key: string): void;
    setRelayState(state: string): void;
    setIssuer(issuer: string): void;
  };
  prompt: {
    /** Throws: this server has no forms yet. */
    render(formId: string, options?: { fields?: Metadata; vars?: Metadata }): void;
  };
  rules: {
    /** Always false: there are no Rules. */
    wasExecuted(ruleId: string): boolean;
  };
  validation: ValidationAPI;
}
