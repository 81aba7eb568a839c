using System.Collections.Concurrent;

/// <summary>What hubs saw, by connection, for a test to ask about.</summary>
public static class Observed
{
    private sealed class Diary
    {
        public readonly List<string> Events = [];
        public TaskCompletionSource Changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private static readonly ConcurrentDictionary<string, Diary> Diaries = new();

    public static void Add(string connectionId, string what)
    {
        var diary = Diaries.GetOrAdd(connectionId, _ => new Diary());
        lock (diary)
        {
            diary.Events.Add(what);
            diary.Changed.SetResult();
            diary.Changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    /// <summary>The first event that begins with <paramref name="start"/>, or null when none comes in time.</summary>
    public static async Task<string?> WaitFor(string connectionId, string start, TimeSpan limit)
    {
        var deadline = Task.Delay(limit);
        var diary = Diaries.GetOrAdd(connectionId, _ => new Diary());
        while (true)
        {
            Task changed;
            lock (diary)
            {
                if (diary.Events.Find(each => each.StartsWith(start, StringComparison.Ordinal)) is { } found)
                {
                    return found;
                }
                changed = diary.Changed.Task;
            }
            if (await Task.WhenAny(changed, deadline) == deadline)
            {
                return null;
            }
        }
    }

    public static string Describe(Exception? exception) =>
        exception is null ? "none" : $"{exception.GetType().Name}: {exception.Message}";
}

/// <summary>Doors that methods wait behind until somebody opens them.</summary>
public static class Doors
{
    private static readonly ConcurrentDictionary<string, TaskCompletionSource> All = new();

    private static TaskCompletionSource Door(string name) =>
        All.GetOrAdd(name, _ => new(TaskCreationOptions.RunContinuationsAsynchronously));

    public static Task WaitAt(string name) => Door(name).Task.WaitAsync(TimeSpan.FromSeconds(20));

    public static void Open(string name) => Door(name).TrySetResult();
}
