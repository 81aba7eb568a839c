using System.Buffers.Text;
using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

/// <summary>JSON web tokens with HMAC-SHA256, from the Authorization header or from access_token.</summary>
public sealed class TokenHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    private static readonly byte[] Key = RandomNumberGenerator.GetBytes(32);

    public static string Create(string user, double lifetime, string? role)
    {
        var expires = DateTimeOffset.UtcNow.AddSeconds(lifetime).ToUnixTimeMilliseconds() / 1000.0;
        var payload = new JsonObject { ["sub"] = user, ["exp"] = expires };
        if (role is not null)
        {
            payload["role"] = role;
        }
        var text = $"{Encode("""{"alg":"HS256","typ":"JWT"}""")}.{Encode(payload.ToJsonString())}";
        return $"{text}.{Sign(text)}";
    }

    private static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    private static string Sign(string text) =>
        Base64Url.EncodeToString(HMACSHA256.HashData(Key, Encoding.ASCII.GetBytes(text)));

    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        var header = Request.Headers.Authorization.ToString();
        var token = header.StartsWith("Bearer ", StringComparison.Ordinal)
            ? header["Bearer ".Length..]
            : Request.Query["access_token"].ToString();
        if (token == "")
        {
            return Task.FromResult(AuthenticateResult.NoResult());
        }
        var parts = token.Split('.');
        if (parts.Length != 3 || Sign($"{parts[0]}.{parts[1]}") != parts[2])
        {
            return Task.FromResult(AuthenticateResult.Fail("The signature is wrong."));
        }
        var payload = JsonNode.Parse(Base64Url.DecodeFromChars(parts[1]))!;
        var expires = DateTimeOffset.FromUnixTimeMilliseconds((long)((double)payload["exp"]! * 1000));
        if (expires < DateTimeOffset.UtcNow)
        {
            return Task.FromResult(AuthenticateResult.Fail("The token is too old."));
        }
        var claims = new List<Claim> { new(ClaimTypes.NameIdentifier, (string)payload["sub"]!) };
        if ((string?)payload["role"] is { } role)
        {
            claims.Add(new(ClaimTypes.Role, role));
        }
        var user = new ClaimsPrincipal(new ClaimsIdentity(claims, Scheme.Name));
        var properties = new AuthenticationProperties { ExpiresUtc = expires };
        return Task.FromResult(AuthenticateResult.Success(new(user, properties, Scheme.Name)));
    }
}
