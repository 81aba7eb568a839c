// The echo of ASP.NET Core: piece by piece, as its documentation shows it.
// "/" echoes; "/broadcast" joins a set; what arrives on "/publish" goes to the set.

using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Runtime;
using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

var compress = args.Contains("--compress");
var members = new ConcurrentDictionary<WebSocket, bool>();

var builder = WebApplication.CreateBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.WebHost.UseUrls("http://127.0.0.1:0");
var app = builder.Build();
app.UseWebSockets();
app.Run(async context =>
{
    if (!context.WebSockets.IsWebSocketRequest)
    {
        context.Response.StatusCode = 400;
        return;
    }
    using var socket = await context.WebSockets.AcceptWebSocketAsync(
        new WebSocketAcceptContext { DangerousEnableCompression = compress });
    try
    {
        if (context.Request.Path == "/broadcast")
        {
            members[socket] = true;
            await Receive(socket, (_, _) => Task.CompletedTask);
        }
        else if (context.Request.Path == "/publish")
        {
            await Receive(socket, Broadcast);
        }
        else
        {
            await Receive(socket, (bytes, piece) => socket.SendAsync(
                bytes, piece.MessageType, piece.EndOfMessage, CancellationToken.None).AsTask());
        }
    }
    catch (WebSocketException)
    {
        // The generator left without a closing handshake.
    }
    finally
    {
        members.TryRemove(socket, out _);
    }
});

// The runner asks for a collection before it reads the memory of idle connections.
using var signal = PosixSignalRegistration.Create((PosixSignal)12, context =>
{
    context.Cancel = true;
    GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
    GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
});

await app.StartAsync();
var address = app.Services.GetRequiredService<IServer>().Features
    .Get<IServerAddressesFeature>()!.Addresses.First();
Console.WriteLine($"listening {new Uri(address).Port}");
await app.WaitForShutdownAsync();

async Task Broadcast(ReadOnlyMemory<byte> bytes, ValueWebSocketReceiveResult piece)
{
    var sends = new List<Task>(members.Count);
    foreach (var (member, _) in members)
    {
        var send = member.SendAsync(bytes, piece.MessageType, piece.EndOfMessage, CancellationToken.None);
        if (!send.IsCompletedSuccessfully) sends.Add(send.AsTask());
    }
    await Task.WhenAll(sends);
}

static async Task Receive(
    WebSocket socket, Func<ReadOnlyMemory<byte>, ValueWebSocketReceiveResult, Task> handle)
{
    // 4 KiB as in the documentation, and more as soon as a message turns out to be longer: an idle
    // connection is not charged for the buffer that large messages want.
    var buffer = new byte[4 * 1024];
    while (true)
    {
        var piece = await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None);
        if (piece.MessageType == WebSocketMessageType.Close) break;
        await handle(buffer.AsMemory(0, piece.Count), piece);
        if (piece.Count == buffer.Length && buffer.Length < 64 * 1024) buffer = new byte[64 * 1024];
    }
    await socket.CloseAsync(
        socket.CloseStatus ?? WebSocketCloseStatus.Empty, socket.CloseStatusDescription, CancellationToken.None);
}
