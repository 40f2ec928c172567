#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
Puts the Tiermesh agent onto this machine, or takes it off. For a GPO start-up script or an Intune script (system context, 64 bit).

.DESCRIPTION
Copies the program from a share, hands it the invitation (tiermesh node invite) in a file that only SYSTEM and administrators can read, and removes
that file whatever happens. Safe to run at each start: a machine on which this very program is installed is left alone.
The machine waits then until an operator says `tiermesh node approve NAME`.

.EXAMPLE
.\Install-TiermeshAgent.ps1 -Program \\files\tiermesh\tiermesh-agent.exe -Invitation \\files\tiermesh\invitation.txt

.EXAMPLE
.\Install-TiermeshAgent.ps1 -Uninstall -Purge
#>
[CmdletBinding(DefaultParameterSetName = 'Install')]
param(
    [Parameter(ParameterSetName = 'Install', Mandatory)][ValidateNotNullOrEmpty()][string]$Program,
    [Parameter(ParameterSetName = 'Install', Mandatory)][ValidateNotNullOrEmpty()][string]$Invitation,
    [Parameter(ParameterSetName = 'Install')][ValidateSet('workstation', 'server')][string]$AgentProfile = 'workstation',
    [Parameter(ParameterSetName = 'Uninstall', Mandatory)][switch]$Uninstall,
    [Parameter(ParameterSetName = 'Uninstall')][switch]$Purge
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$service = 'tiermesh-agent'
$folder = Join-Path $env:ProgramFiles 'tiermesh'
$installed = Join-Path $folder 'tiermesh-agent.exe'

function Invoke-Agent([string]$Executable, [string[]]$Arguments) {
    & $Executable @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Executable $($Arguments[0]) ended with exit code $LASTEXITCODE" }
}

if ($Uninstall) {
    if (-not (Test-Path -LiteralPath $installed)) { exit 0 }
    $arguments = @('uninstall')
    if ($Purge) { $arguments += '--purge' }
    Invoke-Agent $installed $arguments
    exit 0
}

foreach ($file in $Program, $Invitation) {
    if (-not (Test-Path -LiteralPath $file -PathType Leaf)) { throw "there is no file $file, or this machine's account may not read it" }
}
$same = (Test-Path -LiteralPath $installed) -and
    ((Get-FileHash -LiteralPath $Program -Algorithm SHA256).Hash -eq (Get-FileHash -LiteralPath $installed -Algorithm SHA256).Hash)
if ($same -and (Get-Service -Name $service -ErrorAction SilentlyContinue)) { exit 0 }

# A folder of its own, so that no other file is there whose name somebody could have taken.
$work = Join-Path $env:SystemRoot ('Temp\tiermesh-' + [guid]::NewGuid().ToString('N'))
$null = New-Item -ItemType Directory -Path $work
try {
    # Well-known groups by SID: their names are of the system's language. SYSTEM and the administrators, and nothing inherited.
    & "$env:SystemRoot\System32\icacls.exe" $work /inheritance:r /grant '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "the rights of $work could not be set" }
    $local = Join-Path $work 'tiermesh-agent.exe'
    $join = Join-Path $work 'invitation.txt'
    Copy-Item -LiteralPath $Program -Destination $local
    Copy-Item -LiteralPath $Invitation -Destination $join
    Invoke-Agent $local @('install', '--join-file', $join, '--profile', $AgentProfile)
}
finally {
    Remove-Item -LiteralPath $work -Recurse -Force -ErrorAction SilentlyContinue
}
