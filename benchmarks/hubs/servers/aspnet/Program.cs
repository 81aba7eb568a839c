// The hub on ASP.NET Core SignalR, with its defaults.

using System.Runtime;
using System.Runtime.InteropServices;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.SignalR;

var builder = WebApplication.CreateBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.WebHost.UseUrls("http://127.0.0.1:0");
builder.Services.AddSignalR().AddMessagePackProtocol();
var app = builder.Build();
app.MapHub<BenchmarkHub>("/hub");

// The runner asks for a collection before it reads the memory of idle connections.
using var signal = PosixSignalRegistration.Create((PosixSignal)12, context =>
{
    context.Cancel = true;
    Collect();
});

await app.StartAsync();
var address = app.Services.GetRequiredService<IServer>().Features
    .Get<IServerAddressesFeature>()!.Addresses.First();
Console.WriteLine($"listening {new Uri(address).Port}");

// It also asks what the collector manages.
new Thread(() =>
{
    while (Console.ReadLine() is { } line)
    {
        if (line != "heap") continue;
        Collect();
        Console.WriteLine($"heap {GC.GetTotalMemory(forceFullCollection: true)}");
    }
})
{ IsBackground = true }.Start();
await app.WaitForShutdownAsync();

static void Collect()
{
    GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
    GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
}

sealed class BenchmarkHub : Hub
{
    static long taken;

    public string Echo(string text) => text;

    public void Take(string text) => Interlocked.Increment(ref taken);

    public long Taken() => Interlocked.Read(ref taken);

    public Task Broadcast(string text) => Clients.All.SendAsync("message", text);

    public Task Join(string group) => Groups.AddToGroupAsync(Context.ConnectionId, group);

    public Task ToGroup(string group, string text) => Clients.Group(group).SendAsync("message", text);

#pragma warning disable CS1998 // The items are there already.
    public async IAsyncEnumerable<string> Items(int count)
    {
        for (var i = 0; i < count; i++) yield return "Hoist the signal flags, quickly.";
    }
#pragma warning restore CS1998
}
