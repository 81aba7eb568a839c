using System.Buffers;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;

// The application that the suites talk to, on the real ASP.NET Core. Arguments: --certificate and
// --key name PEM files for a second, encrypted port. Prints its addresses as one line of JSON when it
// is ready, and ends when its input does.

var builder = WebApplication.CreateBuilder(args);
builder.Logging.ClearProviders();
builder.WebHost.ConfigureKestrel(kestrel =>
{
    kestrel.Listen(IPAddress.Loopback, 0);
    if (builder.Configuration["certificate"] is { } certificate)
    {
        var both = X509Certificate2.CreateFromPemFile(certificate, builder.Configuration["key"]);
        kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            // As the other server offers it, and because over HTTP/2 the fetch of Node.js 26 throws
            // where nobody can catch it when a connection has been idle.
            listen.Protocols = HttpProtocols.Http1;
            listen.UseHttps(both);
        });
    }
});

var services = builder.Services;
services.AddSignalR(options => options.EnableDetailedErrors = true)
    .AddJsonProtocol(options => options.PayloadSerializerOptions.PropertyNamingPolicy = null)
    .AddMessagePackProtocol()
    .AddHubOptions<QuietHub>(options => options.EnableDetailedErrors = false)
    .AddHubOptions<QuietRefusingHub>(options => options.EnableDetailedErrors = false)
    .AddHubOptions<QuickHub>(options =>
    {
        options.KeepAliveInterval = TimeSpan.FromSeconds(1);
        options.ClientTimeoutInterval = TimeSpan.FromSeconds(2);
    })
    .AddHubOptions<ImpatientHub>(options => options.HandshakeTimeout = TimeSpan.FromMilliseconds(500))
    .AddHubOptions<SmallBufferHub>(options => options.StatefulReconnectBufferSize = 1000)
    .AddHubOptions<JsonOnlyHub>(options => options.SupportedProtocols = ["json"])
    .AddHubOptions<ParallelHub>(options => options.MaximumParallelInvocationsPerClient = 2)
    .AddHubOptions<SmallStreamHub>(options => options.StreamBufferCapacity = 2)
    .AddHubOptions<SmallMessageHub>(options => options.MaximumReceiveMessageSize = 100);
services.Configure<ConnectionOptions>(options => options.DisconnectTimeout = TimeSpan.FromSeconds(5));
services.AddAuthentication("token").AddScheme<AuthenticationSchemeOptions, TokenHandler>("token", null);
services.AddAuthorization();
services.AddCors();
services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(5));

var app = builder.Build();
app.Use((context, next) =>
{
    var request = context.Request;
    if (request.Path.Value!.EndsWith("/negotiate", StringComparison.Ordinal))
    {
        context.Response.Cookies.Append("testCookie", "testValue");
        context.Response.Cookies.Append("testCookie2", "testValue2");
        context.Response.Cookies.Append("expiredCookie", "expiredValue", new() { Expires = DateTimeOffset.Now.AddHours(-1) });
    }
    return next();
});
app.UseRouting();
app.UseCors(cors => cors.SetIsOriginAllowed(_ => true).AllowAnyHeader().AllowAnyMethod().AllowCredentials());
app.UseAuthentication();
app.UseAuthorization();

// --- hubs ---

app.MapHub<TestHub>("/testhub");
app.MapHub<TestHub>("/testhub-nowebsockets",
    options => options.Transports = HttpTransportType.ServerSentEvents | HttpTransportType.LongPolling);
app.MapHub<UncreatableHub>("/uncreatable");
app.MapHub<AuthorizedHub>("/authorizedhub");
app.MapHub<AuthorizedHub>("/expiring", options => options.CloseOnAuthenticationExpiration = true);

app.MapHub<WireHub>("/wire");
app.MapHub<WireHub>("/wire-v1", options => options.MinimumProtocolVersion = 1);
app.MapHub<WireHub>("/wire-websockets", options => options.Transports = HttpTransportType.WebSockets);
app.MapHub<WireHub>("/wire-sse", options => options.Transports = HttpTransportType.ServerSentEvents);
app.MapHub<WireHub>("/wire-longpolling", options => options.Transports = HttpTransportType.LongPolling);
app.MapHub<WireHub>("/wire-quickpoll", options => options.LongPolling.PollTimeout = TimeSpan.FromSeconds(1));
app.MapHub<WireHub>("/wire-subprotocol",
    options => options.WebSockets.SubProtocolSelector = asked => asked.Contains("second") ? "second" : null!);
app.MapHub<QuietHub>("/quiet");
app.MapHub<CrowdHub>("/crowd");
app.MapHub<SlowHub>("/slow");
app.MapHub<QuickHub>("/quick");
app.MapHub<ImpatientHub>("/impatient");
app.MapHub<StatefulHub>("/stateful", options => options.AllowStatefulReconnects = true);
app.MapHub<SmallBufferHub>("/small-buffer", options => options.AllowStatefulReconnects = true);
app.MapHub<JsonOnlyHub>("/json-only");
app.MapHub<ParallelHub>("/parallel");
app.MapHub<SmallStreamHub>("/small-stream");
app.MapHub<SmallMessageHub>("/small-message");
app.MapHub<RefusingHub>("/refusing");
app.MapHub<QuietRefusingHub>("/quiet-refusing");
app.MapHub<HastyHub>("/hasty");
app.MapHub<GreetingHub>("/greeting");

// --- raw connections ---

app.MapConnections("/echo", connections => connections.Run(Raw.Echo));
app.MapConnections("/echo-websockets", new() { Transports = HttpTransportType.WebSockets }, connections => connections.Run(Raw.Echo));
app.MapConnections("/ends", connections => connections.Run(connection => Task.CompletedTask));
app.MapConnections("/throws", connections => connections.Run(async connection =>
{
    await connection.Transport.Input.ReadAsync();
    throw new InvalidOperationException("The handler failed.");
}));
app.MapConnections("/silent", connections => connections.Run(Raw.NeverReads));

// --- ordinary requests ---

app.Map("/echoredirect/{**rest}", (HttpContext context, string? rest) =>
{
    // In full: the event sources of Node.js know no other address.
    var request = context.Request;
    var url = $"{request.Scheme}://{request.Host}/echo{(rest is null ? "" : "/" + rest)}{request.QueryString}";
    return Results.Redirect(url, permanent: false, preserveMethod: true);
});
app.MapPost("/redirect/negotiate", (HttpContext context) =>
{
    var query = context.Request.Query;
    var count = int.TryParse(query["numRedirects"], out var number) ? number + 1 : 1;
    return Results.Json(new { url = $"{query["baseUrl"]}/testhub?numRedirects={count}" });
});
app.MapPost("/redirect-with-token/negotiate", (HttpContext context) =>
    Results.Json(new { url = $"{context.Request.Query["baseUrl"]}/authorizedhub", accessToken = TokenHandler.Create("redirected", 30, null) }));
app.MapPost("/redirect-forever/negotiate", (HttpContext context) =>
    Results.Json(new { url = $"{context.Request.Scheme}://{context.Request.Host}/redirect-forever" }));
app.MapPost("/bad-negotiate/negotiate", () => Results.Text("Some response from server", statusCode: 400));
app.MapGet("/generateJwtToken", (string? user, double? lifetime, string? role) =>
    TokenHandler.Create(user ?? "testuser", lifetime ?? 5, role));
app.MapGet("/clientresult/{id}", async (IHubContext<TestHub> hub, string id) =>
{
    try
    {
        return $"{await hub.Clients.Client(id).InvokeAsync<int>("Result", CancellationToken.None)}";
    }
    catch (Exception exception)
    {
        return exception.Message;
    }
});
app.MapGet("/observed/{id}/{**start}", async (string id, string start, int? within) =>
    await Observed.WaitFor(id, start, TimeSpan.FromMilliseconds(within ?? 12_000)) is { } found ? Results.Text(found) : Results.NotFound());
app.MapGet("/open/{door}", (string door) => Doors.Open(door));
app.MapGet("/outside/all/{text}", (IHubContext<CrowdHub> hub, string text) => hub.Clients.All.SendAsync("Message", text));
app.MapGet("/outside/group/{name}/{text}",
    (IHubContext<WireHub> hub, string name, string text) => hub.Clients.Group(name).SendAsync("Message", text));
app.MapGet("/outside/user/{name}/{text}",
    (IHubContext<WireHub> hub, string name, string text) => hub.Clients.User(name).SendAsync("Message", text));
app.MapGet("/outside/client/{id}/{text}",
    (IHubContext<StatefulHub> hub, string id, string text) => hub.Clients.Client(id).SendAsync("Message", text));

await app.StartAsync();
var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
Console.WriteLine(JsonSerializer.Serialize(addresses));
_ = Task.Run(async () =>
{
    while (await Console.In.ReadLineAsync() is not null)
    {
    }
    await app.StopAsync();
});
await app.WaitForShutdownAsync();

internal static class Raw
{
    /// <summary>Sends back what comes, a read at a time.</summary>
    public static async Task Echo(ConnectionContext connection)
    {
        while (true)
        {
            var result = await connection.Transport.Input.ReadAsync();
            foreach (var piece in result.Buffer)
            {
                connection.Transport.Output.Write(piece.Span);
            }
            connection.Transport.Input.AdvanceTo(result.Buffer.End);
            if (!result.Buffer.IsEmpty)
            {
                await connection.Transport.Output.FlushAsync();
            }
            if (result.IsCompleted)
            {
                return;
            }
        }
    }

    /// <summary>Reads nothing until a test opens the door that has the connection's id.</summary>
    public static async Task NeverReads(ConnectionContext connection)
    {
        await Doors.WaitAt(connection.ConnectionId);
        await Echo(connection);
    }
}
